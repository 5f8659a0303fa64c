"""The processes of one ``serve``: the supervisor, its workers (the data plane), and the management process."""
