#!/bin/sh
# Makes deploy/compose/secrets, which git ignores: NATS accounts, the webhook's
# secret, the API's token, and the current context of a kubeconfig (KUBECONFIG,
# else ~/.kube/config). What is there is kept; the kubeconfig is copied anew.
set -eu
cd "$(dirname "$0")/../.."
exec "${GO:-go}" run ./deploy/setup --dir deploy/compose/secrets --kubeconfig "${KUBECONFIG:-$HOME/.kube/config}" "$@"
