// Package model is the cost model of a fleet: how many messages, requests and bytes
// pushes and quiet time cost, and how long work waits in the queue. docs/scale.md tells
// where its parameters come from; the simulation beside it holds it to a real JetStream.
//
// It is arithmetic alone and imports nothing of Plumb's.
package model

import "time"

// Fleet is what a prediction is about.
type Fleet struct {
	Clusters     int
	Applications int           // of each cluster
	Workers      int           // processes of each cluster
	Slots        int           // attempts at a time of each worker
	Service      time.Duration // mean of an attempt without what the bus takes
	Cores        float64       // of the machine that NATS and all clients share; 0: each client has its own
}

// Cost is what one operation on the bus takes.
type Cost struct {
	Wall time.Duration // when as many as possible are under way on one stream
	CPU  time.Duration // of the server and of the client together
}

// Costs are the operations, each measured by itself on the server that a prediction is
// for.
type Costs struct {
	Fact    Cost          // publish to PLUMB_EVENTS
	Request Cost          // publish to PLUMB_SYNC, hand out, acknowledge
	Lease   Cost          // take and release
	State   Cost          // put into plumb_apps
	Follow  Cost          // hand a stored fact to one who follows
	Alert   Cost          // hand a fact to the alerter, which takes one after the other, and acknowledge
	Digest  time.Duration // CPU to compare one Application with a commit
}

// Best is the smaller of each of two measurements.
func (c Costs) Best(o Costs) Costs {
	best := func(a, b Cost) Cost { return Cost{min(a.Wall, b.Wall), min(a.CPU, b.CPU)} }
	return Costs{
		Fact: best(c.Fact, o.Fact), Request: best(c.Request, o.Request), Lease: best(c.Lease, o.Lease), State: best(c.State, o.State),
		Follow: best(c.Follow, o.Follow), Alert: best(c.Alert, o.Alert), Digest: min(c.Digest, o.Digest),
	}
}

// What one attempt costs on the bus when it changes something. The first one of an
// Application, and one that changes its health, tells one fact more.
const (
	factsPerAttempt  = 2 // sync.started, sync.finished
	leasesPerAttempt = 2 // taken, released: a deletion is stored, too
	statesPerAttempt = 1
)

// What one attempt costs the API server when it changes something, beside one request for
// each object that changes and one Kubernetes Event.
const (
	Reads        = 1 // of the Application, at most: where the watch does not show yet what the worker wrote
	StatusWrites = 2 // at most
)

// Messages are what a number of pushes to one repository stores, by stream, and what is
// handed to those who follow.
type Messages struct {
	Events, Requests, Leases, States int
	Followed                         int // git.routed facts, by the drift-scanners of all clusters
	Routed                           int // pushes, by the workers of all clusters
}

// Messages of pushes that concern a number of Applications in all. Every cluster routes
// every push and tells so, and every cluster's drift-scanner hears of it.
func (f Fleet) Messages(pushes, affected int) Messages {
	routed := pushes * f.Clusters
	return Messages{
		Events:   pushes + routed + factsPerAttempt*affected,
		Requests: affected,
		Leases:   leasesPerAttempt * affected,
		States:   statesPerAttempt * affected,
		Followed: routed * f.Clusters,
		Routed:   routed,
	}
}

// Times are how long after a push its requests are handed out to workers, and how long
// until the last one is done.
type Times struct {
	Median, P99, Last time.Duration
}

// Routing is how long it takes until the clusters have decided about pushes that come
// together: each compares all its Applications with each of them.
func (f Fleet) Routing(c Costs, pushes int) time.Duration {
	one := time.Duration(pushes) * (c.Follow.CPU + times(f.Applications, c.Digest))
	if f.Cores > 0 {
		one = f.shared(times(f.Clusters, one))
	}
	return c.Fact.Wall + one
}

// Push predicts the times of one push that concerns a number of Applications in some of
// the clusters.
func (f Fleet) Push(c Costs, affected, clusters int) Times {
	begin, drain := f.Routing(c, 1), f.Drain(c, 1, affected, clusters)
	queue := max(drain-f.Service, 0)
	return Times{Median: begin + queue/2, P99: begin + queue*99/100, Last: begin + max(drain, f.Service)}
}

// Row predicts the times of pushes without a pause between them that concern an
// Application each. Whatever is routed next sees the newest commit, so that an
// Application waits for the pushes that are looked at already, and not for its own; the
// last push is done when all of them have been routed, told and heard of.
func (f Fleet) Row(c Costs, pushes int) Times {
	ahead := times(min(pushes, f.Workers*routing), f.Routing(c, 1))
	return Times{Median: ahead / 2, P99: ahead, Last: f.Routing(c, pushes) + max(f.Drain(c, pushes, pushes, pushes), f.Service)}
}

// routing is how many pushes a worker looks at at a time.
const routing = 4

// Drain is how long the work of pushes takes from the first request to the last: as
// long as whatever is busiest, which is a stream, the processors or the workers' slots.
func (f Fleet) Drain(c Costs, pushes, affected, clusters int) time.Duration {
	return max(f.Stream(c, pushes, affected), f.CPU(c, pushes, affected), f.Slot(affected, clusters))
}

// Stream is how long the busiest stream is busy.
func (f Fleet) Stream(c Costs, pushes, affected int) time.Duration {
	m := f.Messages(pushes, affected)
	return max(
		times(m.Events, c.Fact.Wall),
		times(m.Requests, c.Request.Wall),
		times(m.Requests, c.Lease.Wall),
		times(m.States, c.State.Wall),
	)
}

// CPU is how long the processors are busy; 0 when each client has its own.
func (f Fleet) CPU(c Costs, pushes, affected int) time.Duration {
	if f.Cores == 0 {
		return 0
	}
	return f.shared(f.Work(c, pushes, affected))
}

// Work is the CPU time that pushes take of the server and of all clients, without being
// handed out and compared, which Routing has.
func (f Fleet) Work(c Costs, pushes, affected int) time.Duration {
	m := f.Messages(pushes, affected)
	return times(m.Events, c.Fact.CPU) + times(m.Requests, c.Request.CPU+c.Lease.CPU) +
		times(m.States, c.State.CPU+c.Follow.CPU) + times(m.Followed, c.Follow.CPU) +
		times(factsPerAttempt*affected, c.Alert.CPU)
}

// shared is how long the processors take for an amount of work.
func (f Fleet) shared(work time.Duration) time.Duration {
	return time.Duration(float64(work) / f.Cores)
}

// Slot is how long the slots of the workers are busy.
func (f Fleet) Slot(affected, clusters int) time.Duration {
	if clusters == 0 {
		return 0
	}
	each := (affected + clusters - 1) / clusters
	slots := f.Workers * f.Slots
	return times((each+slots-1)/slots, f.Service)
}

// Takeover is how long the work of a worker that died lies still: until the server takes
// the request for abandoned (bus.Timing.AckWait) and the lease has expired (LeaseTTL),
// both counted from the last heartbeat.
const Takeover = 10 * time.Second

// Restart is how long it takes until all workers, started together, have read the states
// of their clusters.
func (f Fleet) Restart(c Costs) time.Duration {
	each := f.Workers * f.Applications
	if f.Cores > 0 {
		return f.shared(times(f.Clusters*each, c.Follow.CPU))
	}
	return times(f.Clusters*each, c.Follow.Wall)
}

// Lag is how far the alerter is behind at most when the last of a number of attempts is
// done: it takes one fact after the other, of which half are told in the background and
// may come last.
func (f Fleet) Lag(c Costs, affected int) time.Duration {
	return times(factsPerAttempt*affected, c.Fact.Wall+c.Alert.Wall)
}

func times(n int, each time.Duration) time.Duration { return time.Duration(n) * each }
