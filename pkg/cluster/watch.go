package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// Watched is what a watch needs to know of an object: *T of any API type has it.
type Watched[T any] interface {
	*T
	metav1.Object
	GetObjectKind() schema.ObjectKind
}

// Event is one change. Type is watch.Added (also for what was there at the
// start), watch.Modified, watch.Deleted, or watch.Bookmark without an object:
// everything there was when the watch began, or began anew, has been told.
// Of an object whose deletion happened while the watch was interrupted, only
// namespace, name and uid are known.
type Event[T any] struct {
	Type   watch.EventType
	Object *T
}

// WatchEvent is an Event of a kind that has no Go type here.
type WatchEvent = Event[unstructured.Unstructured]

// Selection is what to watch: a kind, in one namespace or (empty) in all.
type Selection struct {
	schema.GroupVersionKind
	Namespace string
	Labels    string // label selector
	Name      string // of one object; empty: all
	// From is the resourceVersion of an object that was seen: only what comes after it is
	// told. Empty: what there is comes first.
	From string
}

// Watch calls handle for every object of the selection and for every change,
// one at a time and in order, until ctx ends; then it returns nil. It resumes
// by itself, without losing the last state of any object. What the API server
// refuses for good (rights, an unknown kind) is returned.
func (c *Client) Watch(ctx context.Context, s Selection, handle func(WatchEvent)) error {
	return Follow(ctx, c, s, handle)
}

// Follow is Client.Watch for a Go type.
func Follow[T any, P Watched[T]](ctx context.Context, c *Client, s Selection, handle func(Event[T])) error {
	f := &follower[T, P]{client: c, selection: s, handle: handle, at: s.From, known: map[types.NamespacedName]types.UID{}}
	for wait := firstWait; ctx.Err() == nil; {
		began := c.cluster.options.Now()
		err := f.stream(ctx)
		if class, _ := fault.ClassOf(err); err != nil && class == fault.Permanent {
			return fmt.Errorf("watch %s: %w", s.Kind, err)
		}
		if err == nil || c.cluster.options.Now().Sub(began) > lastWait {
			wait = firstWait // it ran well for a while
		}
		if ctx.Err() == nil && err != nil {
			c.cluster.options.Log.DebugContext(ctx, "watch interrupted", "kind", s.Kind, "namespace", s.Namespace, "error", err, "wait", wait)
		}
		_, asked := fault.ClassOf(err)
		pause(ctx, max(wait+rand.N(wait), asked))
		wait = min(2*wait, lastWait)
	}
	return nil
}

const (
	// A watch that broke is resumed after 50 ms, doubled up to 5 s (each up to
	// twice as long, so that watchers do not return together).
	firstWait = 50 * time.Millisecond
	lastWait  = 5 * time.Second
	// The server ends a watch after this time: a dead connection that nobody
	// noticed cannot hide changes for longer.
	watchTime = 8 * time.Minute
)

// follower keeps where a watch stands between its streams.
type follower[T any, P Watched[T]] struct {
	client    *Client
	selection Selection
	handle    func(Event[T])

	// at is the resourceVersion to resume from; empty: begin anew.
	at string
	// known are the objects told of and not told deleted.
	known map[types.NamespacedName]types.UID
	// anew holds what a beginning has told so far; nil when resuming.
	anew map[types.NamespacedName]types.UID
	// unstreamed: the server has no streaming list, so that a beginning is a list.
	unstreamed bool
}

// stream reads one watch to its end. Nil: it ended as watches do.
func (f *follower[T, P]) stream(ctx context.Context) error {
	k, err := f.client.cluster.kinds.find(ctx, f.selection.GroupVersionKind)
	if err != nil {
		return err
	}
	if f.unstreamed && f.at == "" {
		if err := f.list(ctx, k); err != nil {
			return err
		}
	}
	body, err := f.open(ctx, k)
	if err != nil {
		return f.opening(k, err)
	}
	defer body.Close()
	frames := json.NewDecoder(body)
	for {
		var frame metav1.WatchEvent
		if err := frames.Decode(&frame); err != nil {
			return ended(err)
		}
		if err := f.take(frame); err != nil {
			return err
		}
	}
}

// opening learns from a watch that could not begin.
func (f *follower[T, P]) opening(k kind, err error) error {
	err = classify(f.action(), err)
	if _, gone := hasStatus(err, http.StatusGone); gone {
		f.at = ""
	}
	if _, invalid := hasStatus(err, http.StatusUnprocessableEntity); invalid && f.anew != nil && !f.unstreamed {
		f.unstreamed = true
		return nil
	}
	if isGoneRoute(err) {
		f.client.cluster.kinds.forget(k.gv) // the next try asks again, and may find it unknown
	}
	return err
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fault.Retry("", "read watch: %w", err)
}

// open begins a stream: from where it stood, or with all objects first. The
// streaming list (on by default in Kubernetes 1.32 and from 1.34) costs neither
// side a list in memory.
func (f *follower[T, P]) open(ctx context.Context, k kind) (io.ReadCloser, error) {
	req := f.client.verb("GET").Timeout(0).AbsPath(k.path(f.selection.Namespace)).
		Param("watch", "true").Param("allowWatchBookmarks", "true").
		Param("timeoutSeconds", fmt.Sprint(int((watchTime + rand.N(watchTime/8)).Seconds())))
	f.filter(req)
	f.anew = nil
	if f.at == "" {
		f.anew = map[types.NamespacedName]types.UID{}
		req.Param("sendInitialEvents", "true").Param("resourceVersionMatch", "NotOlderThan")
	} else {
		req.Param("resourceVersion", f.at)
	}
	return req.Stream(ctx)
}

// list is the beginning on a server without the streaming list, page by page.
func (f *follower[T, P]) list(ctx context.Context, k kind) error {
	f.anew = map[types.NamespacedName]types.UID{}
	var page struct {
		Metadata metav1.ListMeta   `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	for next := ""; ; next = page.Metadata.Continue {
		page.Items, page.Metadata = nil, metav1.ListMeta{}
		req := f.client.verb("GET").AbsPath(k.path(f.selection.Namespace)).Param("limit", fmt.Sprint(listPage))
		f.filter(req)
		if next != "" {
			req.Param("continue", next)
		}
		if err := f.client.do(ctx, f.action(), req, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			value := P(new(T))
			if err := decode(item, value); err != nil {
				return fault.Retry("", "%s: %w", f.action(), err)
			}
			value.GetObjectKind().SetGroupVersionKind(f.selection.GroupVersionKind)
			f.changed(value)
		}
		if page.Metadata.Continue == "" {
			f.begun(page.Metadata.ResourceVersion)
			return nil
		}
	}
}

func (f *follower[T, P]) filter(req *rest.Request) {
	if f.selection.Labels != "" {
		req.Param("labelSelector", f.selection.Labels)
	}
	if f.selection.Name != "" {
		req.Param("fieldSelector", "metadata.name="+f.selection.Name)
	}
}

func (f *follower[T, P]) action() action {
	id := object.ID{Group: f.selection.Group, Kind: f.selection.Kind, Namespace: f.selection.Namespace, Name: f.selection.Name}
	if id.Name == "" {
		id.Name = "*"
	}
	return action{"watch", id, f.client.identity}
}

// take handles one frame of the stream.
func (f *follower[T, P]) take(frame metav1.WatchEvent) error {
	if frame.Type == string(watch.Error) {
		return f.failed(frame.Object.Raw)
	}
	value := P(new(T))
	if err := decode(frame.Object.Raw, value); err != nil {
		return fault.Retry("", "%s: %w", f.action(), err)
	}
	switch watch.EventType(frame.Type) {
	case watch.Bookmark:
		f.bookmark(value)
	case watch.Deleted:
		f.deleted(value)
	default:
		f.changed(value)
	}
	return nil
}

// failed makes an error of the server's Status; a position too old begins anew.
func (f *follower[T, P]) failed(raw []byte) error {
	var status metav1.Status
	if err := decode(raw, &status); err != nil {
		return fault.Retry("", "%s: %w", f.action(), err)
	}
	if status.Code == http.StatusGone {
		f.at = ""
		return nil
	}
	err := classify(f.action(), &apiError{text: status.Message, status: status})
	if class, _ := fault.ClassOf(err); class == fault.Permanent {
		f.at = "" // whatever it is, the next beginning tells for sure
		return fault.Retry("", "%w", errors.New(err.Error()))
	}
	return err
}

func (f *follower[T, P]) changed(value P) {
	name := types.NamespacedName{Namespace: value.GetNamespace(), Name: value.GetName()}
	told := watch.Modified
	if uid, ok := f.known[name]; !ok || uid != value.GetUID() {
		told = watch.Added
	}
	f.known[name] = value.GetUID()
	if f.anew != nil {
		f.anew[name] = value.GetUID()
	} else {
		f.at = value.GetResourceVersion()
	}
	f.handle(Event[T]{Type: told, Object: value})
}

func (f *follower[T, P]) deleted(value P) {
	name := types.NamespacedName{Namespace: value.GetNamespace(), Name: value.GetName()}
	delete(f.known, name)
	if f.anew != nil {
		delete(f.anew, name)
	} else {
		f.at = value.GetResourceVersion()
	}
	f.handle(Event[T]{Type: watch.Deleted, Object: value})
}

// bookmark moves the position; one of them ends a beginning.
func (f *follower[T, P]) bookmark(value P) {
	switch {
	case f.anew == nil:
		f.at = value.GetResourceVersion()
	case value.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true":
		f.begun(value.GetResourceVersion())
	}
	// Any other one of a beginning is no position: its objects come in no order.
}

// begun ends a beginning: what is known and was not among its objects was
// deleted unseen.
func (f *follower[T, P]) begun(at string) {
	for name, uid := range f.known {
		if _, there := f.anew[name]; there {
			continue
		}
		gone := P(new(T))
		gone.GetObjectKind().SetGroupVersionKind(f.selection.GroupVersionKind)
		gone.SetNamespace(name.Namespace)
		gone.SetName(name.Name)
		gone.SetUID(uid)
		delete(f.known, name)
		f.handle(Event[T]{Type: watch.Deleted, Object: gone})
	}
	f.anew = nil
	f.at = at
	f.handle(Event[T]{Type: watch.Bookmark})
}
