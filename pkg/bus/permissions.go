package bus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/event"
)

// Permissions is what a service's account may publish and subscribe to: the
// least that this package needs to do that service's work. It is data, from
// which deploy/ makes the configuration of nats-server.
//
// Nobody may update, purge or delete a stream or delete a message. A service
// may create the streams it uses when they are missing, and consumers of the
// streams it reads. What NATS cannot forbid remains: who may create a stream
// chooses its configuration, and who may follow PLUMB_EVENTS (the dashboard) may
// reconfigure a consumer there. Ensure and Consume refuse both by name.
type Permissions struct {
	Publish, Subscribe []string
	// Answers lets the account publish to the reply subject of what it received.
	Answers bool
}

// PermissionsOf returns the permissions of a service of a cluster; receiver,
// alerter and dashboard exist once, and the cluster says nothing there.
func PermissionsOf(service, cluster string) (Permissions, error) {
	a, known := accounts[service]
	if !known {
		return Permissions{}, fmt.Errorf("permissions of %q: no such service", service)
	}
	return a.permissions(service, event.Token(cluster)), nil
}

// account is what a service does on the bus. In subjects, {c} stands for the
// token of its cluster.
type account struct {
	publishes []string          // subjects of PLUMB_EVENTS, PLUMB_SYNC and of requests
	writes    map[string]string // bucket -> keys
	reads     map[string]string // bucket -> keys got and watched
	consumes  map[string]Consumer
	follows   string // subjects of PLUMB_EVENTS read without acknowledging
	buries    bool   // may add to PLUMB_DEAD
	hears     []string
	answers   bool
}

var (
	// placeholder is a cluster of the table below; its token is itself.
	placeholder = "CLUSTER"

	syncRequests = "plumb.sync.{c}.*.*"
	syncLeases   = "sync.{c}.*.*"
	scanLeases   = "scan.{c}.*"
	commitLeases = "commit.*.*"
	everyEvent   = "plumb.events.>"
)

var accounts = map[string]account{
	"receiver": {
		publishes: []string{"plumb.events.git.push.*", "plumb.events.git.pullrequest.*", "plumb.events.image.push.*"},
	},
	"worker": {
		publishes: []string{"plumb.events.git.routed.*", "plumb.events.app.{c}.*.*.*", syncRequests, yieldPrefix + syncLeases},
		writes:    map[string]string{leasesBucket: syncLeases, appsBucket: "{c}.*.*"},
		reads:     map[string]string{leasesBucket: syncLeases, appsBucket: "{c}.>"},
		consumes:  map[string]Consumer{eventsStream: RouteConsumer(placeholder), syncStream: syncConsumer(placeholder)},
		buries:    true,
		hears:     []string{yieldPrefix + syncLeases, askPrefix + "{c}.*"},
		answers:   true,
	},
	"drift-scanner": {
		publishes: []string{"plumb.events.git.push.*", "plumb.events.app.{c}.*.*.drift", syncRequests, yieldPrefix + scanLeases},
		writes:    map[string]string{leasesBucket: scanLeases},
		reads:     map[string]string{leasesBucket: scanLeases},
		follows:   "plumb.events.git.routed.>",
		hears:     []string{yieldPrefix + scanLeases},
	},
	"committer": {
		publishes: []string{"plumb.events.app.{c}.*.*.commit", syncRequests, yieldPrefix + commitLeases},
		writes:    map[string]string{leasesBucket: commitLeases},
		reads:     map[string]string{leasesBucket: commitLeases},
		consumes:  map[string]Consumer{eventsStream: ImageConsumer(placeholder)},
		buries:    true,
		hears:     []string{yieldPrefix + commitLeases},
	},
	"alerter": {
		publishes: []string{"plumb.events.alert.*"},
		writes:    map[string]string{incidentsBucket: "*"},
		reads:     map[string]string{incidentsBucket: ">", appsBucket: ">"},
		consumes:  map[string]Consumer{eventsStream: AlertConsumer()},
		buries:    true,
	},
	"dashboard": {
		publishes: []string{askPrefix + "*.*"},
		reads:     map[string]string{appsBucket: ">"},
		follows:   everyEvent,
	},
}

// uses says whether a service has to do with a stream; one that the table does
// not know, or none, with all.
func uses(service, stream string) bool {
	a, known := accounts[service]
	return !known || slices.Contains(a.streams(), stream)
}

// streams are those the account sees, and creates when they are missing.
func (a account) streams() []string {
	used := map[string]bool{deadStream: a.buries, eventsStream: a.follows != ""}
	for _, subject := range a.publishes {
		if strings.HasPrefix(subject, "plumb.events.") || strings.HasPrefix(subject, syncPrefix) {
			used[streamOf(subject)] = true
		}
	}
	for stream := range a.consumes {
		used[stream] = true
	}
	for _, buckets := range []map[string]string{a.writes, a.reads} {
		for bucket := range buckets {
			used[bucketStream(bucket)] = true
		}
	}
	var names []string
	for name, yes := range used {
		if yes {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (a account) permissions(service, cluster string) Permissions {
	publish := slices.Clone(a.publishes)
	for _, stream := range a.streams() {
		publish = append(publish, "$JS.API.STREAM.INFO."+stream, "$JS.API.STREAM.CREATE."+stream)
	}
	for bucket, keys := range a.writes {
		publish = append(publish, keyPrefix(bucket)+keys)
	}
	for bucket, keys := range a.reads {
		publish = append(publish, readsBucket(bucket, keys)...)
	}
	for stream, consumer := range a.consumes {
		publish = append(publish, takesFrom(stream, consumer)...)
	}
	if a.follows != "" {
		publish = append(publish, createsTail(eventsStream)+"*."+a.follows, pulls(eventsStream, "*"))
	}
	if a.follows == everyEvent {
		publish = append(publish, createsTail(eventsStream)+"*") // of several subjects, or all
	}
	if a.buries {
		publish = append(publish, deadPrefix+"*.*")
	}
	slices.Sort(publish)
	return Permissions{
		Publish:   inCluster(publish, cluster),
		Subscribe: inCluster(append(slices.Clone(a.hears), inboxPrefix(service)+".>"), cluster),
		Answers:   a.answers,
	}
}

func createsTail(stream string) string { return "$JS.API.CONSUMER.CREATE." + stream + "." }
func pulls(stream, consumer string) string {
	return "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer
}

// readsBucket is what it takes to get and to watch keys.
func readsBucket(bucket, keys string) []string {
	stream, subject := bucketStream(bucket), keyPrefix(bucket)+keys
	return []string{
		"$JS.API.DIRECT.GET." + stream + "." + subject,
		createsTail(stream) + "*." + subject,
		pulls(stream, "*"),
	}
}

// takesFrom is what it takes to create, pull from and acknowledge to a durable.
func takesFrom(stream string, c Consumer) []string {
	create := createsTail(stream) + c.Name
	if len(c.Subjects) == 1 {
		create += "." + c.Subjects[0]
	}
	return []string{
		create,
		"$JS.API.CONSUMER.INFO." + stream + "." + c.Name,
		pulls(stream, c.Name),
		"$JS.ACK." + stream + "." + c.Name + ".>",
	}
}

// inCluster fills in the cluster, also in names that were made for placeholder.
func inCluster(subjects []string, cluster string) []string {
	r := strings.NewReplacer("{c}", cluster, placeholder, cluster)
	for i, s := range subjects {
		subjects[i] = r.Replace(s)
	}
	return subjects
}

// Config writes permissions in the form of a nats-server configuration file.
func (p Permissions) Config() string {
	var b strings.Builder
	b.WriteString("{\n")
	fmt.Fprintf(&b, "  publish: {allow: %s}\n", list(p.Publish))
	fmt.Fprintf(&b, "  subscribe: {allow: %s}\n", list(p.Subscribe))
	if p.Answers {
		// An answer is several messages; askers wait half a minute for its end.
		fmt.Fprintf(&b, "  allow_responses: {max: 10000, expires: %q}\n", askTime)
	}
	b.WriteString("}")
	return b.String()
}

func list(subjects []string) string {
	quoted := make([]string, len(subjects))
	for i, s := range subjects {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// inboxPrefix keeps the replies of services apart, so that none can listen to
// those of another.
func inboxPrefix(service string) string {
	if service == "" {
		return "_INBOX"
	}
	return "_INBOX." + service
}
