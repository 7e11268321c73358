package catalog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func TestSecret(t *testing.T) {
	c, client, namespace := open(t)
	apply(t, client, namespace, "{apiVersion: v1, kind: Secret, metadata: {name: full, namespace: NS}, stringData: {username: me, password: hunter2}}")
	apply(t, client, namespace, "{apiVersion: v1, kind: Secret, metadata: {name: empty, namespace: NS}}")
	a := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}
	place := catalog.PlaceOf(a, "spec.source.secretRef")
	for sentence, want := range map[string]map[string][]byte{
		"full":  {"username": []byte("me"), "password": []byte("hunter2")},
		"empty": {},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := c.Secret(t.Context(), namespace, sentence, place)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	t.Run("one that is missing", func(t *testing.T) {
		_, err := c.Secret(t.Context(), namespace, "none", place)
		want := "Application " + namespace + "/web: spec.source.secretRef: read Secret " + namespace + "/none: the Secret does not exist; create it"
		if class, _ := fault.ClassOf(err); err == nil || err.Error() != want || class != fault.Permanent || !errors.Is(err, catalog.ErrNoSecret) {
			t.Errorf("got  %v (%s)\nwant %s", err, class, want)
		}
	})
}

// One read serves the Applications of a namespace for a moment, and none that
// was told to read anew, whatever field names the Secret.
func TestSecretsAreReadAnewForWhoAsksThat(t *testing.T) {
	kube := kubetest.Start(t)
	cl, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	client, namespace, now := cl.As(cluster.Identity{}), kube.Namespace(t), time.Now()
	c := catalog.New(cl, catalog.Options{Now: func() time.Time { return now }})
	write := func(value string) {
		t.Helper()
		apply(t, client, namespace, "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, stringData: {v: "+value+"}}")
	}
	web := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}
	db := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db"}}
	want := func(a *v1alpha1.Application, value string) {
		t.Helper()
		now = now.Add(time.Second)
		data, err := c.Secret(t.Context(), namespace, "s", catalog.PlaceOf(a, "spec.sources[1].secretRef"))
		if err != nil || string(data["v"]) != value {
			t.Errorf("%s reads %q (%v), want %q", a.Name, data["v"], err, value)
		}
	}
	write("one")
	want(web, "one")
	write("two")
	want(db, "one")
	c.Reread(web)
	want(web, "two")
	want(db, "two")
	write("three")
	want(web, "two")
	c.Reread(db)
	want(db, "three")
	write("four")
	now = now.Add(11 * time.Second)
	want(web, "four")
}
