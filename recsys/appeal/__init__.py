"""How items do where they are shown, whatever the slot: clicks over those an average item would get there."""
