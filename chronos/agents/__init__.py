"""Chronos for agents: the Model Context Protocol over the REST API. A tool call is a request of the API, made in this
process with the caller's own token, so that rights, limits, validation and refusals are the very same door.
"""
