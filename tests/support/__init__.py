"""What tests share: data on disk, cells, networks, servers, commands. Fixtures stand in conftest.py."""
