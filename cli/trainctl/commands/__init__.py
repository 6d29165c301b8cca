"""One file for each verb, under the verb's name; each offers `command`."""
