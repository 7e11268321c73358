package driftscanner

import (
	"math/rand/v2"
	"time"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/sets"
)

// turns are when the refs that ApplicationSets read are swept. It belongs to one
// goroutine.
type turns struct {
	sets interface {
		All() []*v1alpha1.ApplicationSet
	}
	interval time.Duration
	now      func() time.Time
	next     map[app.Key]time.Time
}

// due are the sources of the sets whose turn it is, spread out as Applications are.
func (t *turns) due() []*v1alpha1.Application {
	now := t.now()
	next := make(map[app.Key]time.Time, len(t.next))
	var due []*v1alpha1.Application
	for _, set := range t.sets.All() {
		at, known := t.next[set.Key()]
		switch {
		case !known:
			at = now.Add(rand.N(t.interval))
		case !at.After(now):
			due = append(due, sets.Sources(set)...)
			at = now.Add(t.interval*9/10 + rand.N(t.interval/5))
		}
		next[set.Key()] = at
	}
	t.next = next
	return due
}
