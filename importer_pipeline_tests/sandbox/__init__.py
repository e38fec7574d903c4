"""Tests of the sandbox: it is as faulty as the real APIs, and answers in the same words."""
