"""What went wrong outside the program, in words for the person who can mend it."""


class InputError(ValueError):
    """A file, a folder, an option or a value given by the user cannot be used.

    The message names the rule, the place and the value; the command line prints it as one line, without a traceback.
    """
