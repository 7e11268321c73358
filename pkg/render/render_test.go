package render_test

import (
	"os"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/render/child"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(m.Run())
}
