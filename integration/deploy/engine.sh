#!/bin/sh
# Runs a command with a container engine of its own, which ends with it:
#
#   integration/deploy/engine.sh make test-compose
#
# It is for machines where no engine runs. It needs root, and dockerd and docker
# (Debian: apt-get install docker.io docker-compose iptables). The bridge docker0 and
# the engine's iptables rules stay behind.
set -eu
dir=$(mktemp -d)
export DOCKER_HOST="unix://$dir/socket"
dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "$DOCKER_HOST" >"$dir/log" 2>&1 &
engine=$!
finish() {
	kill "$engine" 2>/dev/null || true
	wait "$engine" || true
	umount "$dir"/exec/netns/* 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
tries=60
until docker version >/dev/null 2>&1; do
	tries=$((tries - 1))
	if [ "$tries" -eq 0 ] || ! kill -0 "$engine" 2>/dev/null; then
		echo "the engine does not start:" >&2
		tail -n 20 "$dir/log" >&2
		exit 1
	fi
	sleep 0.5
done
"$@"
