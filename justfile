# The daily shortcuts. `scripts/test` is the whole of it and what CI runs.

_default:
    @just --list

# Format, then lint
check:
    cargo fmt --all
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Everything that CI checks
test:
    scripts/test

# Build the client and the pages into the files that are served
web:
    cd client && npm ci --silent && npm run build && npm run build:page

# The client and the pages: types, builds, Node, real Chromium
test-web:
    scripts/test-web

# What is in deploy/: nginx and Caddy before the server, alerts, systemd units, Dockerfile
test-deploy:
    scripts/test-deploy

# Serve for development: prints two chat links
dev *ARGS:
    cargo run --locked -- dev {{ARGS}}

# What the binary is made of, as CycloneDX
sbom:
    scripts/sbom

# The Debian package and the container's contents, built, installed and started (root, minutes)
test-package:
    scripts/test-package

# Known advisories against the dependencies (needs cargo-deny and the network)
advisories:
    cargo deny --locked check advisories

# The server beside the floor and other products that are installed: the table, half an hour
bench *ARGS="beside":
    cargo build --release --locked --workspace
    target/release/imserver-bench {{ARGS}}

# The same afresh with the plots, into docs/ (an hour); who fails is named and left out
bench-publish:
    cargo build --release --locked --workspace
    -target/release/imserver-bench beside --afresh
    -target/release/imserver-bench curves --afresh
    target/release/imserver-bench publish --docs docs

# The load generator against the real servers of all other products, which must be installed
bench-peers-smoke:
    IMSERVER_BENCH_PEERS=required cargo test --locked -p imserver-bench --test peers

# How everything grows with messages, users and connections (half an hour)
growth *ARGS:
    cargo build --release --locked --workspace
    scripts/growth {{ARGS}}

# Kill the server under load 200 times and look for everything; damage 200 copies of its data
torture *ARGS="--rounds 200":
    cargo build --release --locked
    target/release/imserver torture {{ARGS}}
    IMSERVER_DAMAGED_COPIES=200 cargo test --release --locked --test it -- --nocapture damage::

# Cut the power 60 times under load, on a disk in a file (root, loop devices, btrfs-progs)
torture-power:
    IMSERVER_POWER_ROUNDS=60 cargo test --release --locked --test it -- --nocapture power::

# Build states that a power cut could leave, in any order of what was written, and read each (strace)
power-states *ARGS:
    cargo build --release --locked --workspace
    scripts/power-states {{ARGS}}

# Look for what fails once in a hundred runs, for so many minutes: other seeds in each round, then fuzzers
night *ARGS="60":
    scripts/night {{ARGS}}

# Look for inputs that break a reader, until stopped: frame, token, row …
fuzz TARGET SECONDS="0":
    scripts/fuzz --seconds {{SECONDS}} {{TARGET}}

# What others say of our TLS and our WebSockets (docs/conformance.md)
judge:
    scripts/judge-tls --thorough
    scripts/judge-websocket

# 10,000 connections that stall, 5,000 clients that come back at once (raises open files), 100,000 pings
crowds:
    IMSERVER_STALLS=10000 IMSERVER_STORM=5000 IMSERVER_PINGS=100000 \
        cargo test --release --locked --test it -- --nocapture --test-threads 1 \
        stalls::who storm:: websocket::a_flood_of_pings

# The replay of 100,000 unread messages with what arrives meanwhile, and the memory it takes
backlog:
    IMSERVER_BACKLOG=100000 cargo test --release --locked --test it -- --nocapture delivery::a_long
