"""Runs formation's operations where the nodes are: on one of their hosts, through SSM Run Command.

Here :mod:`runner` puts a request and the code (:mod:`archive`) into the deployment's bucket, lets a host run
:mod:`host` by a command (:mod:`commands`), and follows what it says. There :mod:`host` fetches both, reads the
passwords from the deployment's secret, and hands them to :mod:`program`, which carries the request out. No request,
command or answer holds a secret.
"""
