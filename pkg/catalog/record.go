package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const (
	// waitingEvents bounds what is not written yet, some 5 MB; more are dropped and counted.
	waitingEvents = 4096
	// eventPause is how many times as long as a write took the next one waits: an API
	// server that is busy with what the Events are about gets few of them meanwhile.
	eventPause = 4
	// seriesAge ends a series: an equal Event later than this is a new one.
	seriesAge = 10 * time.Minute
	// seriesEvery is how often those that ended are forgotten.
	seriesEvery = time.Minute
	// maxNote is the API's limit of an Event's text in bytes.
	maxNote = 1024
	// eventTimeout gives up on an Event that the API server does not take.
	eventTimeout = 5 * time.Second
)

// recorder writes Events (events.k8s.io/v1) one after the other in the background.
type recorder struct {
	client   *cluster.Client
	service  string
	instance string
	log      *slog.Logger
	now      func() time.Time
	waiting  chan *eventsv1.Event
	dropped  atomic.Int64
	number   atomic.Int64
	series   map[seriesKey]*series // of run alone
	tidied   time.Time             // when the series that ended were forgotten
}

type seriesKey struct{ uid, eventtype, reason, note string }

type series struct {
	id    object.ID
	count int32
	last  time.Time
}

func newRecorder(client *cluster.Client, o Options) *recorder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &recorder{
		client: client, service: "plumb.dev/" + o.Service, instance: o.Service + "-" + host, log: o.Log, now: o.Now,
		waiting: make(chan *eventsv1.Event, waitingEvents),
		series:  map[seriesKey]*series{},
	}
}

func (r *recorder) record(gvk schema.GroupVersionKind, o metav1.Object, eventtype, reason, message string) {
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	at := r.now()
	e := &eventsv1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "events.k8s.io/v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.GetNamespace(),
			// As client-go names them: unique by time, and here by number too.
			Name: fmt.Sprintf("%s.%x.%x", strings.TrimRight(o.GetName()[:min(len(o.GetName()), 200)], ".-"), at.UnixNano(), r.number.Add(1)),
		},
		EventTime:           metav1.NewMicroTime(at),
		ReportingController: r.service,
		ReportingInstance:   r.instance[:min(len(r.instance), 128)],
		Action:              "Sync",
		Reason:              reason,
		Note:                shorten(message),
		Type:                eventtype,
		Regarding: corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(),
			UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()},
	}
	select {
	case r.waiting <- e:
	default:
		r.dropped.Add(1)
	}
}

func shorten(note string) string {
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote-len(" …")], "") + " …"
}

func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.waiting:
			began := time.Now()
			r.write(ctx, e)
			pause(ctx, eventPause*time.Since(began))
		}
	}
}

func pause(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}

func (r *recorder) write(ctx context.Context, e *eventsv1.Event) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	key := seriesKey{string(e.Regarding.UID), e.Type, e.Reason, e.Note}
	if r.repeat(ctx, key, e) {
		return
	}
	id := object.ID{Group: "events.k8s.io", Kind: "Event", Namespace: e.Namespace, Name: e.Name}
	if err := r.client.Create(ctx, id, "v1", e); err != nil {
		r.log.WarnContext(ctx, "event not written", "application", e.Namespace+"/"+e.Regarding.Name, "reason", e.Reason,
			"error", err, "dropped", r.dropped.Swap(0))
		return
	}
	r.series[key] = &series{id: id, count: 1, last: e.EventTime.Time}
}

// repeat counts an Event that was told a short while ago already.
func (r *recorder) repeat(ctx context.Context, key seriesKey, e *eventsv1.Event) bool {
	r.tidy(e.EventTime.Time)
	s, ok := r.series[key]
	if !ok || e.EventTime.Sub(s.last) > seriesAge {
		return false
	}
	s.count++
	s.last = e.EventTime.Time
	patch := map[string]any{"series": eventsv1.EventSeries{Count: s.count, LastObservedTime: e.EventTime}}
	if err := r.client.MergePatch(ctx, s.id, "v1", patch, nil); err != nil {
		delete(r.series, key) // it expired: tell anew
		return false
	}
	return true
}

// tidy forgets the series that ended.
func (r *recorder) tidy(now time.Time) {
	if now.Sub(r.tidied) < seriesEvery {
		return
	}
	r.tidied = now
	maps.DeleteFunc(r.series, func(_ seriesKey, s *series) bool { return now.Sub(s.last) > seriesAge })
}
