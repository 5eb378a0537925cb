"""Runs formation's operations where the nodes are: on one of their hosts, through SSM Run Command.

Here, with boto3: :mod:`runner` puts a request and the code (:mod:`archive`) into the deployment's bucket, lets a host
run them (:mod:`commands`), and follows what it says. There, without Pulumi: :mod:`fetch` gets the code, and
:mod:`on_node` carries the request out with the passwords that the host may read. No request, command or answer holds a
secret.
"""
