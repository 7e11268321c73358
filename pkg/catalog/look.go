package catalog

import (
	"context"
	"strconv"
	"sync"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// Look is Read without a request where the watch knows the Application, else from the API
// server's cache. What it says may be moments old, but never older than what this process
// wrote: it is for who writes with its resourceVersion next. What ends without a write has
// to Read.
func (c *Catalog) Look(ctx context.Context, key app.Key) (*v1alpha1.Application, error) {
	if seen, found := c.Get(key); found && !c.outdated(seen) {
		return seen.DeepCopy(), nil
	}
	a := &v1alpha1.Application{}
	found, err := c.client.GetCached(ctx, idOf(key), v1alpha1.Version, a)
	if err != nil {
		return nil, err
	}
	if !found || c.outdated(a) {
		return c.Read(ctx, key)
	}
	return a, nil
}

// outdated says whether this process knows a newer state. Resource versions are compared
// as numbers; what is none may be anything.
func (c *Catalog) outdated(a *v1alpha1.Application) bool {
	at, err := strconv.ParseUint(a.ResourceVersion, 10, 64)
	if err != nil || at < c.written.of(a.Key()) {
		return true
	}
	seen, found := c.Get(a.Key())
	if !found {
		return false
	}
	newest, err := strconv.ParseUint(seen.ResourceVersion, 10, 64)
	return err != nil || at < newest
}

// wrote remembers what a write led to, unless the watch has shown it already.
func (c *Catalog) wrote(a *v1alpha1.Application) {
	if c.outdated(a) {
		return
	}
	c.written.note(a)
}

// written are the resource versions that this process's writes led to, until the watch
// has shown them.
type written struct {
	mu sync.Mutex
	at map[app.Key]uint64
}

func (w *written) of(key app.Key) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[key]
}

func (w *written) note(a *v1alpha1.Application) {
	at, err := strconv.ParseUint(a.ResourceVersion, 10, 64)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = map[app.Key]uint64{}
	}
	w.at[a.Key()] = max(w.at[a.Key()], at)
}

// seen forgets what the watch has shown: from then on that says what is newest.
func (w *written) seen(a *v1alpha1.Application) {
	at, err := strconv.ParseUint(a.ResourceVersion, 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || at >= w.at[a.Key()] {
		delete(w.at, a.Key())
	}
}
