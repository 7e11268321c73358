package bus

import "time"

// pace finds out whether messages are sooner stored together or one by one: a
// batch spares syncs where the server syncs every write, and costs more than it
// spares where it does not, and a client is not told which. Each way is measured
// again from time to time, by how much is stored in a time: between two batches
// passes time, too.
type pace struct {
	together, alone way
	better          bool      // together is, as far as known
	each            int       // messages after which the other way is measured again
	stored          int       // messages, either way
	last            time.Time // when one was stored by itself; zero: the server may have had nothing to do since
	batch           time.Time // when a batch was; zero alike
	since           int       // messages stored after that batch
}

// way is what it costs to store a message in one of them.
type way struct {
	cost     time.Duration // of the server's time; zero: not known yet
	measured int           // messages stored by then, either way

	took  time.Duration // of those stored since
	count int
}

const (
	measurement = 32 // messages
	oftenest    = 1 << 10
	rarest      = 1 << 15
	pressing    = fewAlone / 2 // so many under way keep the server busy
)

// pays says whether to go together: when that costs less, or is to be measured.
func (p *pace) pays() bool {
	switch {
	case p.together.cost == 0 || p.stored-p.together.measured >= p.each:
		return true
	case p.alone.cost == 0 || p.stored-p.alone.measured >= p.each:
		return false
	}
	return p.better
}

// wentTogether takes in that a batch of count was stored.
func (p *pace) wentTogether(now time.Time, count int) {
	p.stored, p.since = p.stored+count, p.since+count
	p.last = time.Time{}
	if !p.batch.IsZero() {
		p.measuredTogether(now.Sub(p.batch), p.since)
	}
	p.batch, p.since = now, 0
}

// refused takes in that a batch took so long for nothing: its messages go one by one.
func (p *pace) refused(took time.Duration, count int) {
	p.stored += count
	p.last, p.batch = time.Time{}, time.Time{}
	p.measuredTogether(took+time.Duration(count)*p.alone.cost, count)
}

func (p *pace) measuredTogether(took time.Duration, count int) {
	if p.together.add(took, count, p.stored) {
		p.judge(!p.better)
	}
}

// wentAlone takes in that a message was stored by itself, one of so many that were
// under way, beside a batch or not.
func (p *pace) wentAlone(now time.Time, underWay int, beside bool) {
	p.stored++
	p.since++
	switch {
	case beside: // it says nothing of what it costs
		p.last = time.Time{}
		return
	case underWay < pressing:
		p.last, p.batch = time.Time{}, time.Time{}
		return
	case p.since > batchMessages: // it is not between two batches any more
		p.batch = time.Time{}
	}
	if !p.last.IsZero() && p.alone.add(now.Sub(p.last), 1, p.stored) {
		p.judge(p.better)
	}
	p.last = now
}

// judge compares the ways after a measurement. As long as measuring the worse way
// changes nothing, it is measured less and less.
func (p *pace) judge(worse bool) {
	better := p.together.cost < p.alone.cost
	switch {
	case better != p.better || p.each == 0:
		p.better, p.each = better, oftenest
	case worse:
		p.each = min(2*p.each, rarest)
	}
}

// add moves the cost towards each measurement. One far above, as when the disk
// stalls, counts as twice what was known. It reports whether there was one.
func (w *way) add(took time.Duration, count, stored int) bool {
	w.took, w.count = w.took+took, w.count+count
	if w.count < measurement {
		return false
	}
	cost := max(w.took/time.Duration(w.count), 1)
	if w.cost == 0 {
		w.cost = cost
	}
	w.cost += (min(cost, 2*w.cost) - w.cost) / 4
	w.measured, w.took, w.count = stored, 0, 0
	return true
}
