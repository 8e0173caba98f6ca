"""Tests of transports against misbehaving servers: hostile servers, and a stress run over every transport."""
