"""The contract, line by line; a package so that its files may be called what the files beside it are called."""
