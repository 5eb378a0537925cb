"""What all stand-ins for provider plugins of Pulumi have in common: protocol, checks, differences, secrecy.

A stand-in adds its resource types (`resource.ResourceType`), its settings and its connection (`server.Provider`).
"""
