package policy

import "time"

// maxShifts bounds the changes of a zone's clock that one search passes: two a year
// for more than the five years that a schedule looks ahead.
const maxShifts = 16

// after is the first instant after t at which the window begins: when the clock of
// its zone shows a time of the schedule, each time it does so; and where the clock
// was put forward over such a time, the instant at which it was.
func (w window) after(t time.Time) time.Time {
	t = t.In(w.zone)
	for range maxShifts {
		shown, offset := face(t)
		next := w.schedule.Next(shown)
		_, shift := t.ZoneBounds()
		switch {
		case !next.IsZero() && (shift.IsZero() || instant(next, offset).Before(shift)):
			return instant(next, offset).In(w.zone)
		case shift.IsZero():
			return time.Time{}
		}
		// What comes next is not shown before the clock is shifted.
		before := shown.Add(shift.Sub(t)) // what it would show then
		after, _ := face(shift)
		first := before
		if after.Before(before) {
			first = after // put back: these are shown again
		}
		if next = w.schedule.Next(first.Add(-time.Second)); !next.IsZero() && !next.After(after) {
			return shift.In(w.zone)
		}
		t = shift.In(w.zone)
	}
	return time.Time{}
}

// face is what the clock of t's zone shows, as if it were UTC, and by how much it
// is ahead of UTC.
func face(t time.Time) (shown time.Time, offset time.Duration) {
	_, seconds := t.Zone()
	offset = time.Duration(seconds) * time.Second
	return t.UTC().Add(offset), offset
}

func instant(shown time.Time, offset time.Duration) time.Time { return shown.Add(-offset) }
