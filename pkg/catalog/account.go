package catalog

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// optional lets Applications that name no account use Plumb's own; it is
// config.ImpersonationOptional. Any other word means required.
const optional = "optional"

// IdentityFor decides as whom everything for an Application is done: its
// serviceAccountName, else the default one, each of its own namespace. Without
// either it is Plumb's own account when impersonation is optional, and else an
// AccountMissing fault. A name that cannot be one is AccountMissing too: there
// is no way from an odd name to Plumb's own rights.
func IdentityFor(a *v1alpha1.Application, impersonation, defaultServiceAccount string) (cluster.Identity, error) {
	return identity(idOf(a.Key()), a.Spec.ServiceAccountName, impersonation, defaultServiceAccount)
}

// IdentityForSet is IdentityFor for the Applications that a set writes.
func IdentityForSet(s *v1alpha1.ApplicationSet, impersonation, defaultServiceAccount string) (cluster.Identity, error) {
	id := object.ID{Group: v1alpha1.Group, Kind: v1alpha1.SetKind.Kind, Namespace: s.Namespace, Name: s.Name}
	return identity(id, s.Spec.ServiceAccountName, impersonation, defaultServiceAccount)
}

func identity(of object.ID, name, impersonation, defaultServiceAccount string) (cluster.Identity, error) {
	field := "spec.serviceAccountName"
	if name == "" {
		name, field = defaultServiceAccount, "worker.defaultServiceAccount"
	}
	place := fault.Place{Object: of.Human(), Field: field}
	switch {
	case name == "" && impersonation == optional:
		return cluster.Identity{}, nil
	case name == "":
		place.Field = "spec.serviceAccountName"
		return cluster.Identity{}, fault.Refuse(fault.AccountMissing, place,
			"no ServiceAccount is named, and this cluster requires one; name an account of namespace %s", of.Namespace)
	case len(validation.IsDNS1123Subdomain(name)) > 0 || len(validation.IsDNS1123Label(of.Namespace)) > 0:
		return cluster.Identity{}, fault.Refuse(fault.AccountMissing, place,
			"%q is not the name of a ServiceAccount of namespace %s", name, of.Namespace)
	}
	return cluster.Identity{Namespace: of.Namespace, ServiceAccount: name}, nil
}

// CheckAccount returns an AccountMissing fault when the identity's
// ServiceAccount does not exist or is being deleted. The API server would let
// its name, and the groups of its namespace, be used all the same.
func (c *Catalog) CheckAccount(ctx context.Context, id cluster.Identity) error {
	if id == (cluster.Identity{}) {
		return nil
	}
	account := object.ID{Kind: "ServiceAccount", Namespace: id.Namespace, Name: id.ServiceAccount}
	live, err := c.client.Get(ctx, account, "v1")
	if err != nil {
		return err
	}
	if live == nil || live.GetDeletionTimestamp() != nil {
		return fault.Refuse(fault.AccountMissing, fault.Place{Object: account.Human()},
			"the ServiceAccount does not exist; create it, or correct serviceAccountName")
	}
	return nil
}
