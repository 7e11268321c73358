package main

import (
	"context"
	"path/filepath"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
	"github.com/plumb-gitops/plumb/integration/demo/slack"
)

// stay shows where everything is, and waits until somebody ends it, or a part
// does, which is a failure.
func (w *world) stay(ctx context.Context) (failed bool) {
	p := w.plumb
	flags := " --server " + p.api + " --token-file " + p.token
	w.screen.Heading("It stays up", "Push, patch and delete, and look at what happens. Ctrl-C ends it and removes everything.")
	w.screen.Pairs(
		screen.Pair{Name: "Git", Value: "git clone " + w.repo.URL()},
		screen.Pair{Name: "cluster", Value: "export KUBECONFIG=" + w.kube.kubeconfig},
		screen.Pair{Name: "Applications", Value: p.binary + " get" + flags},
		screen.Pair{Name: "events", Value: p.binary + " events --follow" + flags},
		screen.Pair{Name: "sync", Value: p.binary + " sync " + home + "/web" + flags},
		screen.Pair{Name: "webhooks", Value: p.hooks + "git, " + p.hooks + "registry"},
		screen.Pair{Name: "API", Value: p.api},
		screen.Pair{Name: "metrics, health", Value: p.admin + "/metrics, /healthz, /readyz"},
		screen.Pair{Name: "registry", Value: "http://" + w.registry.Host() + "/v2/"},
		screen.Pair{Name: "NATS", Value: "inside plumb up, without a port"},
		screen.Pair{Name: "configuration", Value: p.config},
		screen.Pair{Name: "logs", Value: filepath.Join(w.o.dir, "plumb.log")},
	)
	for w.life.Err() == nil {
		w.showMessages()
		_, _ = w.slack.Messages.Await(w.life, w.shown, func(slack.Message) bool { return true }) // an error says that life ended
	}
	if ctx.Err() == nil {
		w.screen.Failure(context.Cause(w.life))
		return true
	}
	return false
}
