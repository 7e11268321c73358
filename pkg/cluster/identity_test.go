package cluster_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// rights let the account "deployer" of a namespace handle ConfigMaps there, and
// every account of the namespace read Services.
const rights = `
{apiVersion: v1, kind: ServiceAccount, metadata: {name: deployer, namespace: NS}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: deployer, namespace: NS},
 rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: deployer, namespace: NS},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}, subjects: [{kind: ServiceAccount, name: deployer}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: readers, namespace: NS},
 rules: [{apiGroups: [""], resources: [services], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: readers, namespace: NS},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: readers},
 subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:NS"}]}
`

func TestIdentity(t *testing.T) {
	kube := kubetest.Start(t)
	admin, cl := own(t)
	namespace, other := kube.Namespace(t), kube.Namespace(t)
	applyAll(t, admin, strings.ReplaceAll(rights, "NS", namespace))
	deployer := cl.As(cluster.Identity{Namespace: namespace, ServiceAccount: "deployer"})

	t.Run("is one client", func(t *testing.T) {
		if cl.As(cluster.Identity{Namespace: namespace, ServiceAccount: "deployer"}) != deployer {
			t.Error("two clients for one identity")
		}
	})
	t.Run("may do what its account may", func(t *testing.T) {
		o := in(namespace, manifests(t, configMap)[0])
		if err := deployer.Validate(t.Context(), o); err != nil {
			t.Error(err)
		}
		eventually(t, func() error { // the authorizer learns of new roles by watch
			_, err := deployer.Apply(t.Context(), o, cluster.ApplyOptions{})
			return err
		})
	})
	t.Run("is in the groups of its namespace", func(t *testing.T) {
		eventually(t, func() error {
			_, err := deployer.Get(t.Context(), object.ID{Kind: "Service", Namespace: namespace, Name: "none"}, "v1")
			return err
		})
	})
	refused := map[string]func() error{
		"another kind": func() error {
			_, err := deployer.Apply(t.Context(), in(namespace, manifests(t, `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 1}]}}`)[0]), cluster.ApplyOptions{})
			return err
		},
		"another namespace": func() error {
			_, err := deployer.Apply(t.Context(), in(other, manifests(t, configMap)[0]), cluster.ApplyOptions{})
			return err
		},
		"the cluster": func() error {
			_, err := deployer.Apply(t.Context(), manifests(t, `{apiVersion: v1, kind: Namespace, metadata: {name: mine}}`)[0], cluster.ApplyOptions{})
			return err
		},
		"a Secret": func() error {
			_, err := deployer.Apply(t.Context(), in(namespace, manifests(t, `{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k: hunter2}}`)[0]), cluster.ApplyOptions{})
			return err
		},
		"to read": func() error {
			_, err := deployer.Get(t.Context(), object.ID{Kind: "Secret", Namespace: namespace, Name: "a"}, "v1")
			return err
		},
		"to delete": func() error {
			return deployer.Delete(t.Context(), object.ID{Kind: "Service", Namespace: namespace, Name: "a"}, "v1", cluster.DeleteOptions{})
		},
		"to watch": func() error {
			return deployer.Watch(t.Context(), cluster.Selection{GroupVersionKind: configMaps}, func(cluster.WatchEvent) {})
		},
	}
	for what, act := range refused {
		t.Run("is refused "+what, func(t *testing.T) {
			err := act()
			if err == nil {
				t.Fatal("allowed")
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Errorf("%v is %s, want permanent", err, class)
			}
			if !strings.Contains(err.Error(), "as system:serviceaccount:"+namespace+":deployer: ") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error names no account or a value: %v", err)
			}
		})
	}
}

func TestPushbackOfTheAPIServer(t *testing.T) {
	kube := kubetest.Start(t)
	g := through(t)
	c := open(t, g.kubeconfig).As(cluster.Identity{})
	o := in(kube.Namespace(t), manifests(t, configMap)[0])
	apply(t, c, o)
	busy := func(times int, retryAfter string) {
		left := times
		g.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			if left == 0 {
				return false
			}
			left--
			w.Header().Set("Retry-After", retryAfter)
			http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
			return true
		})
	}
	t.Run("a moment is waited out", func(t *testing.T) {
		busy(2, "0")
		apply(t, c, o)
	})
	t.Run("longer is the caller's", func(t *testing.T) {
		busy(1, "30")
		_, err := c.Apply(t.Context(), o, cluster.ApplyOptions{})
		if class, wait := fault.ClassOf(err); class != fault.RetryAfter || wait != 30*time.Second {
			t.Errorf("%v is %s after %s", err, class, wait)
		}
	})
	t.Run("an API server that is away is transient", func(t *testing.T) {
		g.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return true
		})
		_, err := c.Apply(t.Context(), o, cluster.ApplyOptions{})
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient {
			t.Errorf("%v is %s", err, class)
		}
		g.interfere(nil)
	})
}

func TestCapabilities(t *testing.T) {
	_, cl := own(t)
	got, err := cl.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "v"+got.Major+"."+got.Minor+got.Version[len("v"+got.Major+"."+got.Minor):] || got.Major != "1" {
		t.Errorf("version %s, major %s, minor %s", got.Version, got.Major, got.Minor)
	}
	for _, want := range []string{"v1", "v1/Secret", "apps/v1", "apps/v1/Deployment", "networking.k8s.io/v1/Ingress"} {
		if _, ok := slices.BinarySearch(got.APIVersions, want); !ok {
			t.Errorf("%s is missing", want)
		}
	}
}

// eventually tries again until it works; the API server learns of roles,
// kinds and schemas a moment after they were written.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(fmt.Errorf("it never worked: %w", err))
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
