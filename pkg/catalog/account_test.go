package catalog_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

func TestIdentityFor(t *testing.T) {
	own := cluster.Identity{}
	cases := map[string]struct {
		account, impersonation, byDefault string
		want                              cluster.Identity
		missing                           bool
	}{
		"its own account":                      {"deployer", "required", "", cluster.Identity{Namespace: "team-a", ServiceAccount: "deployer"}, false},
		"its own account before the default":   {"deployer", "optional", "other", cluster.Identity{Namespace: "team-a", ServiceAccount: "deployer"}, false},
		"the default account of its namespace": {"", "required", "other", cluster.Identity{Namespace: "team-a", ServiceAccount: "other"}, false},
		"Plumb's own when that is allowed":     {"", "optional", "", own, false},
		"none when one is required":            {"", "required", "", own, true},
		"none when the word is unknown":        {"", "", "", own, true},
		"an account that climbs":               {"../x", "optional", "", own, true},
		"an account of another namespace":      {"kube-system:admin", "optional", "", own, true},
		"an account of blanks":                 {" ", "optional", "", own, true},
		"a default that is no name":            {"", "optional", "kube-system/admin", own, true},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			a := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web"}}
			a.Spec.ServiceAccountName = tc.account
			got, err := catalog.IdentityFor(a, tc.impersonation, tc.byDefault)
			if got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if missing := fault.ReasonOf(err) == fault.AccountMissing; missing != tc.missing || (err != nil) != tc.missing {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestCheckAccount(t *testing.T) {
	c, client, namespace := open(t)
	apply(t, client, namespace, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: deployer, namespace: NS}}")
	cases := map[string]struct {
		id      cluster.Identity
		missing bool
	}{
		"Plumb's own account":  {cluster.Identity{}, false},
		"one that exists":      {cluster.Identity{Namespace: namespace, ServiceAccount: "deployer"}, false},
		"one that is missing":  {cluster.Identity{Namespace: namespace, ServiceAccount: "nobody"}, true},
		"of another namespace": {cluster.Identity{Namespace: "kube-public", ServiceAccount: "deployer"}, true},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			err := c.CheckAccount(t.Context(), tc.id)
			if missing := fault.ReasonOf(err) == fault.AccountMissing; missing != tc.missing || (err != nil) != tc.missing {
				t.Errorf("error: %v", err)
			}
		})
	}
}
