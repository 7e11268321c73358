package sets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/generate"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// writing is how many Applications are written at a time.
const writing = 16

// expanded are the Applications that a set wants, by name.
type expanded map[string]*unstructured.Unstructured

// expansion is one run of gather, decide, act for one set.
type expansion struct {
	c     *Controller
	set   *v1alpha1.ApplicationSet
	job   job
	mark  uint64 // fetches begin after it
	guard func() error
}

// run ends with a status, also when it failed; the error is that of writing it.
func (e *expansion) run(ctx context.Context) (ending, error) {
	result, err := generate.Expand(ctx, generate.Input{Set: e.set, Cluster: e.c.cluster(), Read: e.read})
	if err != nil {
		return e.refused(ctx, result.Sources, err)
	}
	client, err := e.client(ctx)
	if err != nil {
		return e.refused(ctx, result.Sources, err)
	}
	live, err := e.live(ctx, result.Applications)
	if err != nil {
		return e.refused(ctx, result.Sources, err)
	}
	d, err := decide(e.set, result.Applications, live)
	if err != nil {
		return e.refused(ctx, result.Sources, err)
	}
	e.remember(d, result.Applications)
	acted := e.act(ctx, client, d)
	if ctx.Err() != nil {
		return failed, ctx.Err()
	}
	return e.finish(ctx, result.Sources, d, acted)
}

// read fetches a source, no earlier than the lease was taken. Errors name the fields of
// the generator that asked.
func (e *expansion) read(ctx context.Context, s generate.Source) (generate.Tree, string, error) {
	tree, sha, err := e.fetch(ctx, sourceOf(e.set, s))
	if err != nil {
		return nil, "", source.Relocate(fault.As(fault.FetchFailed, err), "")
	}
	return tree, sha, nil
}

func (e *expansion) fetch(ctx context.Context, a *v1alpha1.Application) (*git.Tree, string, error) {
	query, err := e.c.Sources.Query(ctx, a)
	if err != nil {
		return nil, "", err
	}
	query.After = e.mark
	for _, p := range e.job.pushes {
		if len(e.c.Sources.Concerned(a, p.repo, p.ref)) > 0 {
			query.Want, query.WantRef = p.sha, p.ref
		}
	}
	commit, err := e.c.Store.Fetch(ctx, query)
	if err != nil {
		e.c.Catalog.Reread(a)
		return nil, "", err
	}
	tree, err := e.c.Store.Tree(ctx, query.URL, commit.SHA)
	return tree, commit.SHA, err
}

// client is that of the account that the set's Applications are written as.
func (e *expansion) client(ctx context.Context) (*cluster.Client, error) {
	identity, err := catalog.IdentityForSet(e.set, e.c.o.Impersonation, e.c.o.DefaultServiceAccount)
	if err == nil {
		err = e.c.Catalog.CheckAccount(ctx, identity)
	}
	return e.c.Cluster.As(identity), err
}

// live are the Applications of the set's namespace, as the watch knows them. Names
// that it does not know are asked for: the watch may be a moment behind.
func (e *expansion) live(ctx context.Context, generated []generate.Application) (map[string]*v1alpha1.Application, error) {
	live := map[string]*v1alpha1.Application{}
	for _, a := range e.c.Catalog.All() {
		if a.Namespace == e.set.Namespace {
			live[a.Name] = a
		}
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writing)
	for _, g := range generated {
		name := g.Object.GetName()
		if live[name] != nil {
			continue
		}
		group.Go(func() error {
			a, err := e.c.Catalog.Read(ctx, app.Key{Namespace: e.set.Namespace, Name: name})
			if err == nil && a != nil {
				mu.Lock()
				defer mu.Unlock()
				live[name] = a
			}
			return err
		})
	}
	return live, fault.As(fault.ApplyFailed, group.Wait())
}

// remember keeps what the set wants, so that its own writes are not taken for others'.
func (e *expansion) remember(d decision, generated []generate.Application) {
	want := expanded{}
	for _, g := range generated {
		if desired, err := owned(e.set, g.Object); err == nil && d.failed[desired.GetName()] == "" {
			want[desired.GetName()] = desired
		}
	}
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	e.c.desired[e.set.Key()] = want
}

// outcome is what became of the Applications of a decision.
type outcome struct {
	mu      sync.Mutex
	written []string
	deleted []string
	taken   map[string]string // made by somebody else meanwhile
	failed  map[string]error
}

func (o *outcome) add(name string, list *[]string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case errors.Is(err, cluster.ErrExists):
		o.taken[name] = "an Application of that name was made meanwhile, and is not of this set; rename one of them, or delete it"
	case err != nil:
		o.failed[name] = err
	default:
		*list = append(*list, name)
	}
}

// act writes, and deletes only when everything was written and nobody has to
// confirm it.
func (e *expansion) act(ctx context.Context, client *cluster.Client, d decision) *outcome {
	o := &outcome{taken: map[string]string{}, failed: map[string]error{}}
	manager := managerOf(e.set)
	group := &errgroup.Group{}
	group.SetLimit(writing)
	for _, desired := range d.create {
		e.each(group, o, desired.GetName(), &o.written, func() error {
			_, err := client.CreateAs(ctx, manager, object.New(desired, "", 0))
			return err
		})
	}
	for _, u := range d.update {
		e.each(group, o, u.live.Name, &o.written, func() error {
			_, err := client.ApplyAs(ctx, manager, object.New(u.desired, "", 0), u.live.UID)
			return err
		})
	}
	_ = group.Wait()
	if len(o.failed) > 0 || d.keep || d.held != "" {
		return o
	}
	for _, a := range d.doomed {
		e.each(group, o, a.Name, &o.deleted, func() error {
			id := object.ID{Group: v1alpha1.Group, Kind: v1alpha1.GroupVersionKind.Kind, Namespace: a.Namespace, Name: a.Name}
			return client.Delete(ctx, id, v1alpha1.Version, cluster.DeleteOptions{UID: a.UID})
		})
	}
	_ = group.Wait()
	return o
}

// each does one write while the lease is safe.
func (e *expansion) each(group *errgroup.Group, o *outcome, name string, list *[]string, write func() error) {
	group.Go(func() error {
		err := e.guard()
		if err == nil {
			err = write()
		}
		o.add(name, list, err)
		return nil
	})
}

// maxManager is the API's limit of a field manager's name.
const maxManager = 128

// managerOf is the field manager of one set: two sets that write one Application at
// the same moment must not pass for each other.
func managerOf(set *v1alpha1.ApplicationSet) string {
	manager := v1alpha1.SetFieldManager + "/" + set.Name
	if len(manager) > maxManager {
		manager = v1alpha1.SetFieldManager + "/" + v1alpha1.OwnerHash(set.Key())
	}
	return manager
}

func (e *expansion) tell(eventtype, reason, format string, args ...any) {
	e.c.Catalog.RecordSet(e.set, eventtype, reason, fmt.Sprintf(format, args...))
}

// tellAll says what was done, in one Event of each kind.
func (e *expansion) tellAll(d decision, o *outcome) {
	var created, changed []string
	for _, name := range o.written {
		if slices.ContainsFunc(d.create, func(u *unstructured.Unstructured) bool { return u.GetName() == name }) {
			created = append(created, name)
		} else {
			changed = append(changed, name)
		}
	}
	for reason, all := range map[string][]string{"Created": created, "Updated": changed, "Deleted": o.deleted} {
		if len(all) > 0 {
			slices.Sort(all)
			e.tell(corev1.EventTypeNormal, reason, "%d Applications: %s", len(all), strings.Join(all, ", "))
		}
	}
}
