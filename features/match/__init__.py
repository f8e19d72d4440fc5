"""The image-text match model: do the picture and the words of a listing agree?"""
