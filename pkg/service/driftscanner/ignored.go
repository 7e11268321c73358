package driftscanner

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/ignore"
)

// ignored are the compiled rules of Applications; an event of an object must not
// cost a compilation. The zero value is ready.
type ignored struct {
	mu    sync.Mutex
	byKey map[app.Key]compiled
}

type compiled struct {
	uid        types.UID
	generation int64
	rules      ignore.Rules
}

// of returns the rules of an Application. Those that do not compile ignore nothing:
// the worker refuses them by name.
func (i *ignored) of(a *v1alpha1.Application) ignore.Rules {
	if a == nil || len(a.Spec.Ignore) == 0 {
		return ignore.Rules{}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	known, is := i.byKey[a.Key()]
	if is && known.uid == a.UID && known.generation == a.Generation {
		return known.rules
	}
	rules, err := ignore.Compile(a.Spec.Ignore)
	if err != nil {
		rules = ignore.Rules{}
	}
	if i.byKey == nil {
		i.byKey = map[app.Key]compiled{}
	}
	i.byKey[a.Key()] = compiled{a.UID, a.Generation, rules}
	return rules
}

func (i *ignored) forget(key app.Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.byKey, key)
}
