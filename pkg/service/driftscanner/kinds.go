package driftscanner

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/inventory"
)

// kinds are what Applications own objects of. Only the inventories of Applications that
// changed are read: a sweep, after which nothing has, reads none.
type kinds struct {
	mu    sync.Mutex
	moved map[app.Key]bool
	again bool // the answer is wanted although nothing moved
	owned map[app.Key][]schema.GroupVersionKind
}

func newKinds() *kinds {
	return &kinds{moved: map[app.Key]bool{}, owned: map[app.Key][]schema.GroupVersionKind{}}
}

// note says that an Application changed, or is gone.
func (k *kinds) note(key app.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.moved[key] = true
}

// repeat lets the next look tell all kinds, whatever moved.
func (k *kinds) repeat() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.again = true
}

// look returns all kinds that are owned now; false when none can have come or gone since
// the last look.
func (k *kinds) look(get func(app.Key) (*v1alpha1.Application, bool)) (map[schema.GroupVersionKind]bool, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.moved) == 0 && !k.again {
		return nil, false
	}
	for key := range k.moved {
		if a, found := get(key); found {
			k.owned[key] = kindsOf(a)
		} else {
			delete(k.owned, key)
		}
	}
	clear(k.moved)
	k.again = false
	all := map[schema.GroupVersionKind]bool{}
	for _, owned := range k.owned {
		for _, kind := range owned {
			all[kind] = true
		}
	}
	return all, true
}

// kindsOf are none for an inventory that cannot be read: the worker says so in the status.
func kindsOf(a *v1alpha1.Application) []schema.GroupVersionKind {
	owned, err := inventory.Of(a)
	if err != nil {
		return nil
	}
	seen := map[schema.GroupVersionKind]bool{}
	var list []schema.GroupVersionKind
	for _, e := range owned.Entries() {
		kind := schema.GroupVersionKind{Group: e.ID.Group, Version: e.Version, Kind: e.ID.Kind}
		if !seen[kind] {
			seen[kind], list = true, append(list, kind)
		}
	}
	return list
}
