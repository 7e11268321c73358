package main

import (
	"context"
	"os"
	"time"
)

// observed is all that counts up.
type observed struct {
	at      time.Time
	stored  map[string]stored
	server  usage
	own     time.Duration // CPU of the clients
	machine time.Duration // CPU of everything on this machine
	count   float64       // processors
	bytes   int64
	alerts  int64
	late    int64
	again   int64
}

func (r *run) observe(ctx context.Context) (o observed, err error) {
	if o.stored, err = r.streams.look(ctx); err != nil {
		return o, err
	}
	o.bytes = r.traffic.read.Load() + r.traffic.written.Load()
	o.alerts, o.late, o.again = r.audience.alerts.Load(), r.heard.late.Load(), r.heard.again.Load()
	o.at, o.count = time.Now(), r.fleet.Cores
	if r.server == 0 {
		return o, nil
	}
	own, err := usageOf(os.Getpid())
	if err != nil {
		return o, err
	}
	o.own = own.cpu
	if o.machine, err = busy(); err != nil {
		return o, err
	}
	o.server, err = usageOf(r.server)
	return o, err
}

// cores is how many processors others have left since before: what they use of a
// machine that is shared is nothing that a fleet could wait for.
func (o observed) cores(before observed) float64 {
	others := o.machine - before.machine - (o.server.cpu - before.server.cpu) - (o.own - before.own)
	return max(o.count-max(others, 0).Seconds()/o.at.Sub(before.at).Seconds(), o.count/10)
}

// since is what nobody predicts.
func (o observed) since(before observed) []figure {
	return []figure{
		told("facts and states not told at once", "", float64(o.late-before.late)),
		told("pulls repeated", "", float64(o.again-before.again)),
		told("CPU of the server", "s", (o.server.cpu - before.server.cpu).Seconds()),
		told("CPU of all clients", "s", (o.own - before.own).Seconds()),
		told("processors that others left", "CPUs", o.cores(before)),
		told("memory of the server", "MB", megabytes(o.server.memory)),
		told("memory of all clients", "MB", megabytes(ownMemory())),
		told("bytes from and to all clients", "MB", megabytes(int(o.bytes-before.bytes))),
		told("PLUMB_EVENTS on disk", "MB", megabytes(int(o.stored[events].bytes))),
		told("KV_plumb_apps on disk", "MB", megabytes(int(o.stored[states].bytes))),
	}
}

func ownMemory() int {
	u, _ := usageOf(os.Getpid()) // it was there a moment ago
	return u.memory
}
