"""Programs that run in `.venv-rivals`, with engines that can't live beside our packages; they import none of ours."""
