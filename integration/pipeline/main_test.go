// Package pipeline tests Plumb's path from push to status on the real parts.
package pipeline

import (
	"os"
	"testing"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(kubetest.Main(m))
}
