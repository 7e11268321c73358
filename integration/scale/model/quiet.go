package model

import (
	"math"
	"time"
)

// What a fleet does while nothing happens.
const (
	repairEvery = 33 * time.Second // of each worker, on average; it reads the states of its cluster
	pullEvery   = 5 * time.Second  // of each consumer of each worker, when nothing comes
	pullBeat    = time.Second      // of the server, on each pull
	sweepTick   = time.Second      // Applications whose turn comes within one share a list of refs
)

// Quiet is what a fleet costs a second while nothing happens. Leases are not held then,
// and watches of the API servers cost nothing.
type Quiet struct {
	States float64 // states read from NATS by repairs
	Pulls  float64 // messages that keep pulls open
	Lists  float64 // refs listed at the Git host
}

// Quiet of a fleet whose Applications are spread over a number of repositories and are
// swept once an interval.
func (f Fleet) Quiet(repositories int, interval time.Duration) Quiet {
	workers := float64(f.Clusters * f.Workers)
	turns := float64(f.Applications) / float64(repositories) * float64(sweepTick) / float64(interval)
	return Quiet{
		States: workers * float64(f.Applications) / repairEvery.Seconds(),
		Pulls:  workers * 2 * (1/pullEvery.Seconds() + 1/pullBeat.Seconds()),
		Lists:  float64(f.Clusters*repositories) * (1 - math.Exp(-turns)) / sweepTick.Seconds(),
	}
}
