package sets

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/bus"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/generate"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// Parts are what a Controller works with. Somebody else runs Catalog and Sets.
type Parts struct {
	Bus     *bus.Bus
	Cluster *cluster.Cluster
	Catalog *catalog.Catalog
	Sets    *Sets
	Store   *git.Store
	Sources source.Policy
}

// Options are the tunables of a Controller.
type Options struct {
	Cluster string // name on the bus
	Labels  map[string]string
	Holder  string // who holds its leases

	Impersonation         string // as of config.Worker
	DefaultServiceAccount string

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

const (
	// workers is how many sets are worked on at a time.
	workers = 4
	// firstRetry doubles with each failure in a row, up to lastRetry.
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
	// workLimit ends work that hangs; it is tried again.
	workLimit = 10 * time.Minute
)

// job is why a set is worked on.
type job struct {
	force  bool // expand, also when the set itself calls for nothing
	pushes []push
}

// push is what a push is said to have done.
type push struct {
	repo string // canonical name
	ref  string // full name
	sha  string // the commit it has since
}

// with merges a job with one that came later: of one ref the newest push counts.
func (j job) with(later job) job {
	pushes := slices.Clone(later.pushes)
	for _, p := range j.pushes {
		if !slices.ContainsFunc(pushes, func(o push) bool { return o.repo == p.repo && o.ref == p.ref }) {
			pushes = append(pushes, p)
		}
	}
	return job{force: j.force || later.force, pushes: pushes}
}

// ending is what became of a job.
type ending int

const (
	done    ending = iota
	failed         // the status says what; time may mend it
	nothing        // nobody called for anything
)

// Controller works on sets.
type Controller struct {
	Parts
	o Options

	mu      sync.Mutex
	jobs    map[app.Key]job
	running map[app.Key]bool
	fails   map[app.Key]int       // in a row
	retry   map[app.Key]time.Time // when a set that failed is worked on again
	desired map[app.Key]expanded  // of this process's last expansions
	wake    chan struct{}
}

// New subscribes to p.Catalog and p.Sets, and so comes before their Run.
func New(p Parts, o Options) *Controller {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Controller{
		Parts: p, o: o, jobs: map[app.Key]job{}, running: map[app.Key]bool{}, fails: map[app.Key]int{}, retry: map[app.Key]time.Time{},
		desired: map[app.Key]expanded{}, wake: make(chan struct{}, 1),
	}
	p.Sets.subscribe = append(p.Sets.subscribe, c.observe)
	p.Catalog.Subscribe(c.observeApplication)
	return c
}

// Pushed has the sets expanded that read the pushed ref; repo is its canonical name.
// It returns at once: a process that ends before it is done expands all sets when
// it starts again.
func (c *Controller) Pushed(repo, ref, after string) {
	for _, set := range c.Sets.All() {
		for _, s := range Sources(set) {
			if len(c.Sources.Concerned(s, repo, ref)) > 0 {
				c.add(set.Key(), job{force: true, pushes: []push{{repo, ref, after}}})
				break
			}
		}
	}
}

// observe takes what a set itself calls for.
func (c *Controller) observe(now *v1alpha1.ApplicationSet) {
	if calls(now) {
		c.add(now.Key(), job{})
	}
}

// calls says whether the state of a set asks for work.
func calls(set *v1alpha1.ApplicationSet) bool {
	confirm := set.Annotations[v1alpha1.ConfirmPruneAnnotation]
	return !set.DeletionTimestamp.IsZero() || set.Generation != set.Status.ObservedGeneration ||
		set.Status.Plan != "" && confirm != "" && confirm != set.Status.Confirmed
}

// observeApplication sees Applications of sets that are not as their set says, and
// names that became free.
func (c *Controller) observeApplication(old, now *v1alpha1.Application) {
	a := now
	if a == nil {
		a = old
	}
	if ref := metav1.GetControllerOf(a); ref != nil && ref.Kind == v1alpha1.SetKind.Kind {
		key := app.Key{Namespace: a.Namespace, Name: ref.Name}
		if now == nil || moved(old, now) && !c.asDesired(key, now) {
			c.add(key, job{force: true})
		}
		return
	}
	if now != nil && old != nil && metav1.GetControllerOf(old) == nil {
		return
	}
	for _, set := range c.Sets.All() {
		if set.Namespace == a.Namespace && concerns(set, a.Name) {
			c.add(set.Key(), job{force: true})
		}
	}
}

// moved leaves out changes of the status, which come often.
func moved(old, now *v1alpha1.Application) bool {
	return old == nil || old.Generation != now.Generation || old.DeletionTimestamp.IsZero() != now.DeletionTimestamp.IsZero() ||
		!within(old.Labels, now.Labels) || !within(old.Annotations, now.Annotations)
}

func concerns(set *v1alpha1.ApplicationSet, name string) bool {
	for _, a := range set.Status.Applications {
		if a.Name == name {
			return true
		}
	}
	return false
}

// asDesired says whether an Application is as the last expansion here wanted it.
func (c *Controller) asDesired(set app.Key, a *v1alpha1.Application) bool {
	c.mu.Lock()
	want := c.desired[set][a.Name]
	c.mu.Unlock()
	return want != nil && a.DeletionTimestamp.IsZero() && inSync(want, a)
}

// add merges a job with one that waits.
func (c *Controller) add(key app.Key, j job) {
	c.mu.Lock()
	c.jobs[key] = c.jobs[key].with(j)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// ended makes the set free for its next job, and says when there is one at the latest.
func (c *Controller) ended(key app.Key, how ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, key)
	switch how {
	case failed:
		c.retry[key] = c.o.Now().Add(min(firstRetry<<min(c.fails[key], 10), lastRetry))
		c.fails[key]++
	case done:
		delete(c.retry, key)
		delete(c.fails, key)
	}
}

// Run expands every set once, and then those that something calls for, until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	for _, synced := range []<-chan struct{}{c.Catalog.Synced(), c.Sets.Synced()} {
		select {
		case <-synced:
		case <-ctx.Done():
			return nil
		}
	}
	for _, set := range c.Sets.All() {
		c.add(set.Key(), job{force: true})
	}
	var working sync.WaitGroup
	defer working.Wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for key, j := range c.take() {
			working.Go(func() { c.work(ctx, key, j) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// take hands out jobs that are due, of sets that nobody here works on.
func (c *Controller) take() map[app.Key]job {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, at := range c.retry {
		if j := c.jobs[key]; !at.After(c.o.Now()) {
			j.force = true
			c.jobs[key] = j
			delete(c.retry, key)
		}
	}
	taken := map[app.Key]job{}
	for key, j := range c.jobs {
		if len(c.running) < workers && !c.running[key] {
			c.running[key] = true
			delete(c.jobs, key)
			taken[key] = j
		}
	}
	return taken
}

func (c *Controller) work(life context.Context, key app.Key, j job) {
	ctx, cancel := context.WithTimeout(life, workLimit)
	defer cancel()
	how, err := c.attempt(ctx, key, j)
	if err != nil {
		how = failed
	}
	if err != nil && life.Err() == nil {
		c.o.Log.WarnContext(ctx, "ApplicationSet not worked on; trying again", "set", key.String(), "error", err)
	}
	c.ended(key, how)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// attempt works on a set under its lease.
func (c *Controller) attempt(ctx context.Context, key app.Key, j job) (ending, error) {
	lease, err := c.Bus.AwaitLease(ctx, bus.SetLease(c.o.Cluster, key.Namespace, key.Name), c.o.Holder)
	if err != nil {
		return failed, err
	}
	defer func() { _ = lease.Release(context.WithoutCancel(ctx)) }()
	set, err := c.Sets.read(ctx, key)
	if err != nil {
		return failed, err
	}
	switch {
	case set == nil:
		c.forget(key)
		return done, nil
	case !set.DeletionTimestamp.IsZero():
		return done, c.release(ctx, set)
	case !j.force && !calls(set):
		return nothing, nil
	}
	if set, err = c.Sets.setFinalizer(ctx, set, true); err != nil {
		return failed, err
	}
	e := expansion{c: c, set: set, job: j, mark: c.Store.Mark(), guard: lease.Guard}
	return e.run(ctx)
}

func (c *Controller) forget(key app.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.desired, key)
}

// cluster is what the clusters generator yields.
func (c *Controller) cluster() generate.Cluster {
	return generate.Cluster{Name: c.o.Cluster, Labels: c.o.Labels}
}
