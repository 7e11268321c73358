package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// maxToken is the longest encoded token that is kept whole; a NATS subject over
// 4,096 bytes closes the connection.
const maxToken = 150

// Token encodes a name from outside as one token of a subject or a KV key:
// bytes [A-Za-z0-9_-] stay, every other byte is '=' and two upper-case hex
// digits, empty is '='. Over 150 characters: the first 100 without a cut
// escape, "=-" and 32 hex digits of the name's SHA-256.
func Token(name string) string {
	if name == "" {
		return "="
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if plain(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('=')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
	}
	if b.Len() <= maxToken {
		return b.String()
	}
	return shorten(b.String(), name)
}

const upperHex = "0123456789ABCDEF"

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func shorten(encoded, name string) string {
	head := encoded[:100]
	if cut := strings.LastIndexByte(head[97:], '='); cut > 0 {
		head = head[:97+cut]
	}
	sum := sha256.Sum256([]byte(name))
	return head + "=-" + hex.EncodeToString(sum[:16])
}

// SyncSubject is the subject of the work queue for one Application.
func SyncSubject(cluster, namespace, name string) string {
	return "plumb.sync." + Token(cluster) + "." + Token(namespace) + "." + Token(name)
}

// AppSubject is the subject of a fact about an Application; what is sync,
// health, drift, commit or preview.
func AppSubject(cluster, namespace, name, what string) string {
	return "plumb.events.app." + Token(cluster) + "." + Token(namespace) + "." + Token(name) + "." + what
}

// kind is what the package knows about one event type.
type kind struct {
	data    func() proto.Message
	subject func(proto.Message) (string, bool)
}

// of builds a kind whose data is T and whose subject is made from it.
func of[T any, P interface {
	*T
	proto.Message
}](subject func(P) string) kind {
	return kind{
		data: func() proto.Message { return P(new(T)) },
		subject: func(m proto.Message) (string, bool) {
			data, ok := m.(P)
			if !ok {
				return "", false
			}
			return subject(data), true
		},
	}
}

type application interface {
	GetCluster() string
	GetNamespace() string
	GetName() string
}

func ofApplication[T any, P interface {
	*T
	proto.Message
	application
}](what string) kind {
	return of(func(d P) string { return AppSubject(d.GetCluster(), d.GetNamespace(), d.GetName(), what) })
}

var kinds = map[Type]kind{
	GitPush:        of(func(d *eventsv1.GitPush) string { return "plumb.events.git.push." + Token(d.GetRepo()) }),
	GitRouted:      of(func(d *eventsv1.GitRouted) string { return "plumb.events.git.routed." + Token(d.GetRepo()) }),
	GitPullRequest: of(func(d *eventsv1.GitPullRequest) string { return "plumb.events.git.pullrequest." + Token(d.GetRepo()) }),
	ImagePush: of(func(d *eventsv1.ImagePush) string {
		return "plumb.events.image.push." + Token(d.GetRegistry()+"/"+d.GetRepository())
	}),
	SyncRequested: of(func(d *eventsv1.SyncRequested) string {
		return SyncSubject(d.GetCluster(), d.GetNamespace(), d.GetName())
	}),
	SyncStarted:       ofApplication[eventsv1.SyncStarted]("sync"),
	SyncFinished:      ofApplication[eventsv1.SyncFinished]("sync"),
	HealthChanged:     ofApplication[eventsv1.HealthChanged]("health"),
	DriftFound:        ofApplication[eventsv1.DriftFound]("drift"),
	DriftHealed:       ofApplication[eventsv1.DriftHealed]("drift"),
	ImageUpdated:      ofApplication[eventsv1.ImageUpdated]("commit"),
	RollbackCommitted: ofApplication[eventsv1.RollbackCommitted]("commit"),
	PreviewReady:      ofApplication[eventsv1.PreviewReady]("preview"),
	AlertSent:         of(func(d *eventsv1.AlertSent) string { return "plumb.events.alert." + Token(d.GetChannel()) }),
}
