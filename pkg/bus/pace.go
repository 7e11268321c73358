package bus

import "time"

// pace finds out whether messages are sooner stored together or one by one: a
// batch spares syncs where the server syncs every write, and costs more than it
// spares where it does not, and a client is not told which. Each way is measured
// again from time to time.
type pace struct {
	together, alone way
	better          bool      // together is, as far as known
	each            int       // messages after which the other way is measured again
	stored          int       // messages, either way
	last            time.Time // when one was stored by itself; zero: the server may have had nothing to do since
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

// wentTogether takes in how long a batch of count took.
func (p *pace) wentTogether(took time.Duration, count int) {
	p.stored += count
	p.last = time.Time{}
	if p.together.add(took, count, p.stored) {
		p.judge(!p.better)
	}
}

// wentAlone takes in that a message was stored by itself, one of so many that were
// under way; 0 when something else was as well.
func (p *pace) wentAlone(now time.Time, underWay int) {
	p.stored++
	if underWay < pressing {
		p.last = time.Time{}
		return
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
