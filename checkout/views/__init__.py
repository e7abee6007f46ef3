"""The pages from the calendar to the paid order."""
