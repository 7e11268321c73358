package catalog_test

import (
	"fmt"
	"strings"
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

func TestCredential(t *testing.T) {
	c, client, namespace := open(t)
	for _, secret := range []string{
		"{apiVersion: v1, kind: Secret, metadata: {name: basic, namespace: NS}, stringData: {username: me, password: hunter2}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: bearer, namespace: NS}, stringData: {bearerToken: hunter2}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: half, namespace: NS}, stringData: {username: me, pasword: hunter2}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: empty, namespace: NS}}",
	} {
		apply(t, client, namespace, secret)
	}
	cases := map[string]struct {
		ref  string
		want catalog.Credential
		err  string
	}{
		"no secretRef":           {},
		"user name and password": {ref: "basic", want: catalog.Credential{Username: "me", Password: "hunter2"}},
		"a bearer token":         {ref: "bearer", want: catalog.Credential{BearerToken: "hunter2"}},
		"a missing Secret":       {ref: "none", err: "Secret NS/none does not exist"},
		"a missing field":        {ref: "half", err: "Secret NS/half must have username and password, or bearerToken"},
		"an empty Secret":        {ref: "empty", err: "Secret NS/empty must have username and password, or bearerToken"},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			a := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}
			if tc.ref != "" {
				a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: tc.ref}
			}
			got, err := c.Credential(t.Context(), a)
			if got != tc.want {
				t.Error("another credential")
			}
			if shown := fmt.Sprintf("%v %+v %#v %s", got, got, got, err); strings.Contains(shown, "hunter2") {
				t.Errorf("a value leaked: %s", shown)
			}
			if tc.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			want := "Application " + namespace + "/web: spec.source.secretRef: " + strings.ReplaceAll(tc.err, "NS", namespace)
			if err == nil || err.Error() != want || fault.ReasonOf(err) != fault.SourceRefused {
				t.Errorf("got  %v (%s)\nwant %s", err, fault.ReasonOf(err), want)
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent {
				t.Errorf("it is %s", class)
			}
		})
	}
}
