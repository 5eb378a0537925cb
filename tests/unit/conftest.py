"""What every unit test needs: no engine, no network, no Pulumi CLI."""

import os

# An Output inside an f-string is an error, not a text that nobody expects (read when an Output is made into a string).
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "1"
