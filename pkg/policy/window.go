// Package policy decides when an Application may be written to: its windows and
// its suspension. A decision is a value that says why, and until when it holds.
//
// It is pure and may import the Application API and fault only. A window that
// cannot be read is a permanent fault that names its field.
package policy

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no zones

	"github.com/robfig/cron/v3"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Windows are those of one Application, read. The zero value is always open.
type Windows struct {
	allow, deny []window
}

// window is active for a duration from each instant at which a clock of its zone
// shows a time of its schedule.
type window struct {
	name     string // for people
	schedule cron.Schedule
	duration time.Duration
	zone     *time.Location
}

// Decision says whether writing is allowed now.
type Decision struct {
	Open bool
	// Until is when Open changes next. Zero: nothing is known to change it. Where the
	// search for the change takes too long it is the moment up to which none was found.
	Until time.Time
	// Why is a sentence for people when it is closed.
	Why string
}

// parser knows five fields; words as @daily and zones within the schedule, which
// robfig/cron takes too, are none.
var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// ParseWindows reads spec.sync.windows.
func ParseWindows(given []v1alpha1.Window) (Windows, error) {
	var all Windows
	for i, g := range given {
		w, err := parse(g)
		if err != nil {
			return Windows{}, at(i, err)
		}
		switch g.Kind {
		case "allow":
			all.allow = append(all.allow, w)
		case "deny":
			all.deny = append(all.deny, w)
		default:
			return Windows{}, at(i, wrong{"kind", fmt.Errorf("must be allow or deny")})
		}
	}
	return all, nil
}

// wrong is a field of a window that cannot be read.
type wrong struct {
	field string
	error
}

func at(i int, err error) error {
	field := ""
	if w, is := err.(wrong); is {
		field, err = "."+w.field, w.error
	}
	return fault.Refuse(fault.ApplyFailed, fault.Place{Field: fmt.Sprintf("spec.sync.windows[%d]%s", i, field)}, "%w", err)
}

func parse(g v1alpha1.Window) (window, error) {
	w := window{duration: g.Duration.Duration, zone: time.UTC}
	var err error
	if strings.Contains(g.Schedule, "=") {
		return w, wrong{"schedule", fmt.Errorf("holds a zone, which belongs into timeZone")}
	}
	if w.schedule, err = parser.Parse(g.Schedule); err != nil {
		return w, wrong{"schedule", fmt.Errorf("%w; write five fields, as 0 22 * * 1-5", err)}
	}
	if w.schedule.Next(anyTime).IsZero() {
		return w, wrong{"schedule", fmt.Errorf("is a day that never comes")}
	}
	if w.duration <= 0 {
		return w, wrong{"duration", fmt.Errorf("must be longer than nothing")}
	}
	// "Local" would be the zone of whichever machine asks.
	if w.zone, err = time.LoadLocation(g.TimeZone); err != nil || g.TimeZone == "Local" {
		return w, wrong{"timeZone", fmt.Errorf("no zone of that name is known; write an IANA name, as Europe/Berlin")}
	}
	w.name = fmt.Sprintf("%s window %q for %s, %s", g.Kind, g.Schedule, duration(w.duration), w.zone)
	return w, nil
}

// anyTime is where the search for a first time of a schedule begins.
var anyTime = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// duration is as people write it: 8h, not 8h0m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// The search for the moment at which a decision changes goes so many steps, and no
// further than so long from now unless the change comes first.
const (
	maxChanges = 100
	farthest   = 7 * 24 * time.Hour
)

// At decides about one moment. Denied beats allowed; where anything is allowed by
// a window, all other time is closed.
func (all Windows) At(now time.Time) Decision {
	d, next := all.look(now)
	for range maxChanges {
		if d.Until = next; next.IsZero() || next.Sub(now) > farthest {
			return d
		}
		then, after := all.look(next)
		if then.Open != d.Open {
			return d
		}
		next = after
	}
	return d
}

// look decides about one moment without a word on how long, and gives the next
// moment that may decide otherwise; zero: none.
func (all Windows) look(now time.Time) (d Decision, next time.Time) {
	denied, over, begins := activeOf(all.deny, now)
	if denied != nil {
		return Decision{Why: "closed by the " + denied.name}, over
	}
	if len(all.allow) == 0 {
		return Decision{Open: true}, begins
	}
	allowed, over, opens := activeOf(all.allow, now)
	switch {
	case allowed != nil:
		return Decision{Open: true}, earlier(over, begins)
	case len(all.allow) == 1:
		return Decision{Why: "outside of the " + all.allow[0].name}, opens
	}
	return Decision{Why: fmt.Sprintf("outside of all %d allow windows", len(all.allow))}, opens
}

// activeOf finds one of the windows that is active, when the last of those ends, and
// when the first of the others begins.
func activeOf(windows []window, now time.Time) (active *window, over, begins time.Time) {
	for i, w := range windows {
		is, change := w.at(now)
		switch {
		case !is:
			begins = earlier(begins, change)
			continue
		case active == nil:
			active = &windows[i]
		}
		if change.After(over) {
			over = change
		}
	}
	return active, over, begins
}

// earlier is the earlier of two moments; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// maxLinks bounds how many spans that run into each other are followed.
const maxLinks = 2000

// at says whether the window is active, and when that changes; zero: not within
// the five years that a schedule looks ahead.
func (w window) at(now time.Time) (active bool, change time.Time) {
	begin := w.after(now.Add(-w.duration)) // the first that may last until now
	if begin.IsZero() || begin.After(now) {
		return false, begin
	}
	for range maxLinks {
		next := w.after(begin)
		if next.IsZero() || next.After(begin.Add(w.duration)) {
			break
		}
		begin = next
	}
	return true, begin.Add(w.duration)
}
