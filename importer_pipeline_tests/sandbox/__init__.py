"""The sandbox: that it is as unkind as the real ones, and says so in the same words."""
