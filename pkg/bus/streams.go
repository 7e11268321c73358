package bus

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// This file is all that Plumb keeps in NATS, as data.
//
//	stream / bucket  subjects                              kept
//	PLUMB_EVENTS     plumb.events.>                        30 days, 1 GiB; every fact, never deleted by hand
//	PLUMB_SYNC       plumb.sync.<cluster>.<ns>.<app>       until acknowledged; the newest per subject only
//	PLUMB_DEAD       plumb.dead.<stream>.<consumer>        30 days, 256 MiB; what gave up, with its reason
//	plumb_leases     sync.<cluster>.<ns>.<app> and others  10 s after the last heartbeat
//	plumb_apps       <cluster>.<ns>.<app>                  until deleted; can be rebuilt
//	plumb_incidents  <incident>                            until deleted
const (
	eventsStream = "PLUMB_EVENTS"
	syncStream   = "PLUMB_SYNC"
	deadStream   = "PLUMB_DEAD"

	leasesBucket    = "plumb_leases"
	appsBucket      = "plumb_apps"
	incidentsBucket = "plumb_incidents"

	syncPrefix  = "plumb.sync."
	deadPrefix  = "plumb.dead."
	askPrefix   = "plumb.ask."
	yieldPrefix = "plumb.yield."
)

// maxHeaders is room for the attributes of an event beside its data.
const maxHeaders = 64 << 10

// layout returns the configuration of every stream, those of buckets included,
// for a number of replicas.
func layout(replicas int, t Timing) []jetstream.StreamConfig {
	streams := []jetstream.StreamConfig{
		{
			Name:        eventsStream,
			Description: "every fact: the audit log, replayable",
			Subjects:    []string{"plumb.events.>"},
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardOld,
			MaxAge:      30 * 24 * time.Hour,
			MaxBytes:    1 << 30,
			MaxMsgSize:  event.MaxData + maxHeaders,
			// Redelivered webhooks come within minutes; each id costs about 200 bytes.
			Duplicates: time.Hour,
			DenyDelete: true,
			DenyPurge:  true,
			// What is published at the same time is stored together.
			AllowAtomicPublish: true,
		},
		{
			Name:              syncStream,
			Description:       "sync requests, the newest per Application",
			Subjects:          []string{syncPrefix + "*.*.*"},
			Retention:         jetstream.WorkQueuePolicy,
			Discard:           jetstream.DiscardOld, // with MaxMsgsPerSubject: newest replaces older
			MaxMsgsPerSubject: 1,
			MaxAge:            24 * time.Hour, // of a cluster that has no worker any more
			MaxBytes:          -1,
			MaxMsgSize:        event.MaxData + maxHeaders,
			Duplicates:        10 * time.Minute,
		},
		{
			Name:        deadStream,
			Description: "what gave up, with the reason",
			Subjects:    []string{deadPrefix + ">"},
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardOld,
			MaxAge:      30 * 24 * time.Hour,
			MaxBytes:    256 << 20,
			MaxMsgSize:  -1,
			Duplicates:  time.Hour,
		},
		leases(replicas, t),
		bucket(appsBucket, "last known state per Application; can be rebuilt"),
		bucket(incidentsBucket, "incidents of the alerter, changed by compare-and-set"),
	}
	for i := range streams {
		streams[i].Storage = jetstream.FileStorage
		streams[i].Replicas = replicas
	}
	return streams
}

// bucket is the stream below a key-value bucket of history 1, as NATS ADR-8
// lays it out, without roll-ups: with them whoever may put a key may purge all.
func bucket(name, description string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              bucketStream(name),
		Description:       description,
		Subjects:          []string{keyPrefix(name) + ">"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxBytes:          -1,
		MaxMsgSize:        event.MaxData + maxHeaders,
		Duplicates:        2 * time.Minute,
		DenyDelete:        true,
		AllowDirect:       true,
	}
}

// leases expire by the age of the bucket: a key created with a TTL of its own
// and then updated would never expire. Delete markers let watches see the
// expiry; the server asks for roll-ups with them. A lease lost with the server's
// last milliseconds is found out by the holder's next heartbeat, so its puts
// are not synced one by one (0.06 against 0.58 ms); replicated streams cannot
// have that and do not need it.
func leases(replicas int, t Timing) jetstream.StreamConfig {
	c := bucket(leasesBucket, "who works on it now; expires by itself")
	c.MaxAge = t.LeaseTTL
	c.Duplicates = t.LeaseTTL
	c.AllowRollup = true
	c.AllowMsgTTL = true
	c.SubjectDeleteMarkerTTL = max(t.LeaseTTL, time.Second)
	if replicas == 1 {
		c.PersistMode = jetstream.AsyncPersistMode
	}
	return c
}

func bucketStream(bucket string) string { return "KV_" + bucket }
func keyPrefix(bucket string) string    { return "$KV." + bucket + "." }

// Consumer is a durable reader of PLUMB_EVENTS, shared by all processes that
// use its name. A new one starts at new messages.
type Consumer struct {
	Name        string
	Subjects    []string // must not overlap
	Concurrency int      // handlers at a time; 0: one, which keeps the order
}

// RouteConsumer reads what a cluster's workers turn into sync requests.
func RouteConsumer(cluster string) Consumer {
	return Consumer{Name: "route-" + event.Token(cluster), Subjects: []string{"plumb.events.git.push.>"}}
}

// AlertConsumer reads what the alerter tells people about, of all clusters.
func AlertConsumer() Consumer {
	return Consumer{Name: "alert", Subjects: []string{
		"plumb.events.app.*.*.*.sync",
		"plumb.events.app.*.*.*.health",
		"plumb.events.app.*.*.*.drift",
		"plumb.events.app.*.*.*.preview",
		"plumb.events.app.*.*.*.commit",
	}}
}

// ImageConsumer reads what a cluster's committer turns into commits.
func ImageConsumer(cluster string) Consumer {
	return Consumer{Name: "image-" + event.Token(cluster), Subjects: []string{"plumb.events.image.push.>"}}
}

// config is the JetStream consumer. MaxDeliver and MaxAckPending are unlimited:
// a message over the first sticks undelivered, the default of the second stalls
// everybody behind a thousand delayed ones.
func (c Consumer) config(t Timing) jetstream.ConsumerConfig {
	return filtered(c.Subjects, jetstream.ConsumerConfig{
		Durable:       c.Name,
		DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       t.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: -1,
	})
}

// filtered sets the filter. A single one goes into the subject of the request
// that creates the consumer, where permissions can see it.
func filtered(subjects []string, config jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	if len(subjects) == 1 {
		config.FilterSubject = subjects[0]
		return config
	}
	config.FilterSubjects = subjects
	return config
}

// syncConsumer is the one consumer of a cluster's part of the work queue, which
// refuses overlapping ones and any start but the beginning.
func syncConsumer(cluster string) Consumer {
	return Consumer{Name: "sync-" + event.Token(cluster), Subjects: []string{syncPrefix + event.Token(cluster) + ".>"}}
}

// SyncLease is the key that is held while an Application is worked on.
func SyncLease(cluster, namespace, name string) string {
	return key("sync", cluster, namespace, name)
}

// SetLease is the key that is held while an ApplicationSet is worked on. It is of
// the family of SyncLease, and of no Application: their names have no "_".
func SetLease(cluster, namespace, name string) string {
	return key("sync", cluster, namespace, "_set_"+name)
}

// ScanLease is the key of a part of a cluster's sweeps.
func ScanLease(cluster, shard string) string { return key("scan", cluster, shard) }

// CommitLease is the key of a branch that is written to.
func CommitLease(repo, branch string) string { return key("commit", repo, branch) }

// key joins names as encoded tokens; the first is ours and stays.
func key(first string, names ...string) string {
	for _, name := range names {
		first += "." + event.Token(name)
	}
	return first
}
