.PHONY: test
test:
	cargo build --locked --workspace
