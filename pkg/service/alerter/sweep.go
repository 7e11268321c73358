package alerter

import (
	"context"
	"time"

	"github.com/plumb-gitops/plumb/pkg/alert"
)

// sweep looks at all incidents time and again: what lasts long enough is
// opened, what is over although no fact said so is closed, and what is long
// over is forgotten. Channels look again, too, at what other replicas left.
func (a *Alerter) sweep(ctx context.Context) {
	for sleep(ctx, a.o.Sweep) {
		if a.gate.closed() > 0 {
			continue
		}
		if err := a.once(ctx); err != nil && ctx.Err() == nil {
			a.o.Log.WarnContext(ctx, "incidents not looked through; trying again", "error", err)
		}
		a.kick()
	}
}

func (a *Alerter) once(ctx context.Context) error {
	all, err := a.store.all(ctx)
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, i := range all {
		if i, err = a.look(ctx, i); err != nil {
			return err
		}
		counts[i.GetState()]++
	}
	a.metrics.set(counts)
	return nil
}

// look brings one incident up to date.
func (a *Alerter) look(ctx context.Context, i *incident) (*incident, error) {
	switch i.GetState() {
	case alert.Open, alert.Pending:
		return a.review(ctx, i)
	}
	delete(a.absent, i.GetId())
	if a.outlived(i) {
		return nil, a.store.forget(ctx, i.GetId(), a.outlived)
	}
	return i, nil
}

func (a *Alerter) review(ctx context.Context, i *incident) (*incident, error) {
	s, err := a.state(ctx, i)
	if err != nil {
		return i, err
	}
	now := a.o.Now()
	gone := a.missed(i, s == nil, now)
	i, _, err = a.store.change(ctx, i.GetId(), func(old *incident) (*incident, bool) {
		if old == nil {
			return nil, false
		}
		if gone {
			return alert.Gone(old, now)
		}
		if next, over := alert.Review(old, s); over {
			return next, true
		}
		return alert.Ripen(old, now, a.o.Patience)
	})
	return i, err
}

// missed says whether an Application has been away long enough to be deleted
// and not only forgotten with a bucket that its worker fills again. A fact about
// it shows that it was there.
func (a *Alerter) missed(i *incident, absent bool, now time.Time) bool {
	if !absent {
		delete(a.absent, i.GetId())
		return false
	}
	since, known := a.absent[i.GetId()]
	heard := latest(i.GetSync().GetAt().AsTime(), i.GetHealth().GetAt().AsTime())
	if !known || since.Before(heard) {
		a.absent[i.GetId()] = now
		return false
	}
	return now.Sub(since) >= a.o.Absence
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// outlived is an incident that is over, told wherever it has to be, and old.
func (a *Alerter) outlived(i *incident) bool {
	if i.GetState() == alert.Open || i.GetState() == alert.Pending || a.o.Now().Sub(i.GetChangedAt().AsTime()) < a.o.Keep {
		return false
	}
	for _, t := range a.tellers {
		if t.due(i) != "" {
			return false
		}
	}
	return true
}
