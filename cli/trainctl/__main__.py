"""`python -m trainctl` is `trainctl`."""

from trainctl.main import main

main()
