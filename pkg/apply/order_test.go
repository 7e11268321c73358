package apply_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/apply"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
)

// recorder is a client that writes down what changes the cluster, and in which
// state the objects are that had to come before.
type recorder struct {
	apply.Client
	mu     sync.Mutex
	writes []string
	first  map[object.ID]bool // written so far, and not deleted
	early  []string           // writes that came while something before was not ready
}

func (r *recorder) enter(ctx context.Context, verb string, id object.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, verb+" "+id.Name)
	for before := range r.first {
		if before == id {
			continue
		}
		live, err := r.Get(ctx, before, "")
		if err != nil || health.Of(live).Status != health.Healthy {
			r.early = append(r.early, fmt.Sprintf("%s %s before %s is healthy", verb, id.Name, before.Name))
		}
	}
	if verb == "apply" {
		r.first[id] = true
	} else {
		delete(r.first, id)
	}
}

func (r *recorder) Apply(ctx context.Context, o object.Object, options cluster.ApplyOptions) (cluster.Applied, error) {
	r.enter(ctx, "apply", o.ID())
	return r.Client.Apply(ctx, o, options)
}

func (r *recorder) Delete(ctx context.Context, id object.ID, version string, options cluster.DeleteOptions) error {
	err := r.Client.Delete(ctx, id, version, options)
	if err == nil { // controllers write the status meanwhile; then it is tried again
		r.enter(ctx, "delete", id)
	}
	return err
}

// hooks makes an attempt with hooks, in the given run, and returns its writes.
func (r *real) hooks(source string, run int64, guard func() error) (apply.Result, *recorder, error) {
	r.t.Helper()
	in := r.input(source, true)
	in.RunHooks, in.Run = true, run
	in.Exists = func(app.Key) bool { return true }
	p, err := plan.Decide(in)
	if err != nil {
		return apply.Result{}, nil, err
	}
	r.owned = p.Claim(r.owned)
	rec := &recorder{Client: r.client, first: map[object.ID]bool{}}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	o := apply.Options{Wait: func(ctx context.Context, ids []object.ID, until plan.Await) error {
		return await(ctx, r.client, p, ids, until)
	}}
	done, err := apply.Run(ctx, p, rec, guard, o)
	if guard() != nil {
		return done, rec, err // the worker ended: nothing of it is stored
	}
	r.owned = done.Inventory(r.owned)
	if err != nil {
		failed, late := apply.RunFail(ctx, p, rec, guard, o)
		r.owned = failed.Inventory(r.owned)
		done.Outcomes = append(done.Outcomes, failed.Outcomes...)
		if late != nil {
			r.t.Error(late)
		}
	}
	if err := apply.Tidy(ctx, p, done, rec, guard, o); err != nil {
		r.t.Error(err)
	}
	return done, rec, err
}

func forever() error { return nil }

func jobOf(name, annotations, spec string) string {
	return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s, annotations: {%s}}
spec:
  backoffLimit: 0
  %s
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: example.com/app:1}]
---
`, name, annotations, spec)
}

func deployment(name, annotations, image string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, annotations: {%s}}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: 'example.com/app:%[3]s'}]}
---
`, name, annotations, image)
}

func configMap(name, annotations, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, annotations: {%s}}\ndata: {value: '%s'}\n---\n", name, annotations, value)
}

// never is a Job whose Pods find no node, until its time is over.
const never = "activeDeadlineSeconds: 1"

func TestOrderOfWrites(t *testing.T) {
	r := newReal(t)
	source := jobOf("migrate", "plumb.dev/hook: pre-sync, plumb.dev/wave: '1'", "") +
		configMap("settings", "plumb.dev/hook: pre-sync", "1") +
		deployment("db", "plumb.dev/wave: '-1'", "1") + deployment("web", "", "1") + configMap("last", "plumb.dev/wave: '2'", "1") +
		jobOf("smoke", "plumb.dev/hook: post-sync, plumb.dev/hook-delete: succeeded", "") + jobOf("alarm", "plumb.dev/hook: sync-fail", "")
	_, rec, err := r.hooks(source, 1, forever)
	if err != nil {
		t.Fatal(err)
	}
	name := r.app.TargetNamespace()
	want := []string{"apply " + name, "apply settings", "apply migrate", "apply db", "apply web", "apply last", "apply smoke", "delete smoke"}
	if diff := cmp.Diff(want, rec.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if len(rec.early) > 0 {
		t.Errorf("too early: %q", rec.early)
	}

	// The next run deletes the hooks that are left, prunes down the waves, and then
	// runs those after the sync.
	_, rec, err = r.hooks(strings.Replace(source, configMap("last", "plumb.dev/wave: '2'", "1"), "", 1), 2, forever)
	if err != nil {
		t.Fatal(err)
	}
	want = []string{"delete settings", "apply settings", "delete migrate", "apply migrate", "delete last", "apply smoke", "delete smoke"}
	if diff := cmp.Diff(want, rec.writes); diff != "" || len(rec.early) > 0 {
		t.Errorf("writes (-want +got):\n%s\ntoo early: %q", diff, rec.early)
	}

	// Nothing but what is rendered, and Plumb's, is left of hooks that leave Git.
	_, rec, err = r.hooks(deployment("web", "", "1"), 3, forever)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rec.writes)
	if diff := cmp.Diff([]string{"delete db", "delete migrate", "delete settings"}, rec.writes); diff != "" || r.owned.Len() != 1 {
		t.Errorf("writes (-want +got):\n%s\nowned: %v", diff, r.owned.Entries())
	}
}

func TestAFailingHook(t *testing.T) {
	r := newReal(t)
	source := jobOf("migrate", "plumb.dev/hook: pre-sync", never+"\n  suspend: false") + configMap("a", "", "1") + jobOf("alarm", "plumb.dev/hook: sync-fail", "")
	source = strings.Replace(source, "restartPolicy: Never", "restartPolicy: Never\n      nodeSelector: {no: such}", 1)
	done, rec, err := r.hooks(source, 1, forever)
	if class, _ := fault.ClassOf(err); class != fault.Permanent || !strings.Contains(err.Error(), "pre-sync hook Job "+r.app.TargetNamespace()+"/migrate failed") ||
		!strings.Contains(err.Error(), "deadline") || fault.ReasonOf(err) != fault.HealthFailed {
		t.Errorf("%s, %s, %v", class, fault.ReasonOf(err), err)
	}
	if diff := cmp.Diff([]string{"apply " + r.app.TargetNamespace(), "apply migrate", "apply alarm"}, rec.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if got := strings.Join(words(done), ", "); !strings.HasSuffix(got, "failed migrate, skipped a, ran alarm") {
		t.Errorf("outcomes %s", got)
	}
}

// A worker ends right after it made the hook; the next one goes on with it.
func TestAHookOfAWorkerThatEnded(t *testing.T) {
	r := newReal(t)
	source := jobOf("migrate", "plumb.dev/hook: pre-sync", "") + configMap("a", "", "1")
	asked := 0
	_, rec, err := r.hooks(source, 1, func() error {
		if asked++; asked > 2 { // the Namespace, and the Job
			return errInjected
		}
		return nil
	})
	if err == nil || !slices.Contains(rec.writes, "apply migrate") || slices.Contains(rec.writes, "apply a") {
		t.Fatalf("%v after %q", err, rec.writes)
	}
	jobs := r.kube.Clientset(t).BatchV1().Jobs(r.app.TargetNamespace())
	before, err := jobs.Get(t.Context(), "migrate", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, rec, err = r.hooks(source, 1, forever); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"apply a"}, rec.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if after, err := jobs.Get(t.Context(), "migrate", metav1.GetOptions{}); err != nil || after.UID != before.UID {
		t.Errorf("was made anew: %v", err)
	}
	if _, rec, err = r.hooks(source, 2, forever); err != nil || !slices.Contains(rec.writes, "delete migrate") {
		t.Errorf("the next run: %v, %q", err, rec.writes)
	}
}

func TestAForeignObjectIsNoHook(t *testing.T) {
	r := newReal(t)
	r.app.Spec.Destination = v1alpha1.Destination{}
	configMaps := r.kube.Clientset(t).CoreV1().ConfigMaps(r.app.Namespace)
	patch := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"mine"}}`)
	if _, err := configMaps.Patch(t.Context(), "mine", types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: "me"}); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.hooks(configMap("mine", "plumb.dev/hook: pre-sync", "1")+configMap("a", "", "1"), 1, forever)
	if err == nil || !strings.Contains(err.Error(), "was not made as a hook") {
		t.Errorf("got %v", err)
	}
	if _, err := configMaps.Get(t.Context(), "mine", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestAMoveInARealCluster(t *testing.T) {
	web := newReal(t)
	web.app.Spec.Destination = v1alpha1.Destination{}
	api := *web
	api.app = web.app.DeepCopy()
	api.app.Name = "api"
	shared := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {value: '1', dropped: 'yes'}\n---\n"
	if _, _, err := web.hooks(shared+configMap("a", "", "1"), 1, forever); err != nil {
		t.Fatal(err)
	}
	configMaps := web.kube.Clientset(t).CoreV1().ConfigMaps(web.app.Namespace)
	before, err := configMaps.Get(t.Context(), "shared", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := api.hooks(configMap("shared", "", "2"), 1, forever); fault.ReasonOf(err) != fault.OwnershipConflict {
		t.Fatal(err)
	}
	// The claim is no drift of the owner's.
	if got := web.attempt(shared+configMap("a", "", "1"), true); !slices.Equal(got, []string{"unchanged ConfigMap", "unchanged ConfigMap"}) {
		t.Errorf("with a claim: %q", got)
	}
	done, rec, err := web.hooks(configMap("a", "", "1"), 2, forever)
	if err != nil || len(rec.writes) > 0 || len(done.Released()) != 1 {
		t.Errorf("release: %v, %q", err, rec.writes)
	}
	if _, _, err := api.hooks(configMap("shared", "", "2"), 2, forever); err != nil {
		t.Fatal(err)
	}
	after, err := configMaps.Get(t.Context(), "shared", metav1.GetOptions{})
	if err != nil || after.UID != before.UID {
		t.Fatalf("was deleted: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"value": "2"}, after.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{v1alpha1.OwnerAnnotation: api.app.Key().String()}, after.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestImmutableFieldsInARealCluster(t *testing.T) {
	r := newReal(t)
	r.app.Spec.Destination = v1alpha1.Destination{}
	if _, _, err := r.hooks(deployment("web", "", "1"), 1, forever); err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(deployment("web", "ANNOTATION", "1"), "app: web", "app: other")
	_, _, err := r.hooks(strings.Replace(changed, "ANNOTATION", "", 1), 2, forever)
	if class, _ := fault.ClassOf(err); class != fault.Permanent || !strings.Contains(err.Error(), "spec.selector") || !strings.Contains(err.Error(), "plumb.dev/replace: allowed") {
		t.Errorf("%s, %v", class, err)
	}
	done, rec, err := r.hooks(strings.Replace(changed, "ANNOTATION", "plumb.dev/replace: allowed", 1), 3, forever)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"apply web", "delete web", "apply web"}, rec.writes); diff != "" || words(done)[0] != "replaced web" {
		t.Errorf("writes (-want +got):\n%s\noutcomes %q", diff, words(done))
	}
}

func TestMergingLeavesWhatFormerDeclarersOwn(t *testing.T) {
	for annotations, want := range map[string]map[string]string{
		"":                       {"value": "1"},
		"plumb.dev/apply: merge": {"value": "1", "extra": "yes"},
	} {
		r := newReal(t)
		r.app.Spec.Destination = v1alpha1.Destination{}
		configMaps := r.kube.Clientset(t).CoreV1().ConfigMaps(r.app.Namespace)
		patch := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"value":"0","extra":"yes"}}`)
		if _, err := configMaps.Patch(t.Context(), "a", types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: "argocd-controller"}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.hooks(configMap("a", annotations, "1"), 1, forever); err != nil {
			t.Fatal(err)
		}
		live, err := configMaps.Get(t.Context(), "a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, live.Data); diff != "" {
			t.Errorf("%q: data (-want +got):\n%s", annotations, diff)
		}
	}
}

func TestWhatHoldsADeletionIsNamed(t *testing.T) {
	r := newReal(t)
	r.app.Spec.Destination = v1alpha1.Destination{}
	source := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n---\n"
	if _, _, err := r.hooks(source+configMap("a", "", "1"), 1, forever); err != nil {
		t.Fatal(err)
	}
	done, _, err := r.hooks(configMap("a", "", "1"), 2, forever)
	if err != nil || len(done.Held()) != 1 || done.Held()[0].Finalizers[0] != "example.com/hold" {
		t.Errorf("%v, held %v", err, done.Held())
	}
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	configMaps := r.kube.Clientset(t).CoreV1().ConfigMaps(r.app.Namespace)
	if _, err := configMaps.Patch(t.Context(), "held", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.hooks(configMap("a", "", "1"), 3, forever); err != nil || r.owned.Len() != 1 {
		t.Errorf("%v, owned %v", err, r.owned.Entries())
	}
}
