// Upstream answers patches with Kubernetes' own libraries, so that ours can be compared with them.
//
//	upstream SCHEMA.json
//
// reads one request per line: what to do (apply, update or strategic), the live object (null before it is created), the
// object or patch, who writes, and whether by force. It answers each with one line: {"ok": object} or {"error": text,
// "status": …}. The schema is that of kind Thing in test.io/v1; main writes reset its status.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kube-openapi/pkg/validation/spec"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

var kind = schema.GroupVersionKind{Group: "test.io", Version: "v1", Kind: "Thing"}

// plain is a kind without conversion and defaults.
type plain struct{}

func (plain) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{Object: map[string]interface{}{}}
	object.SetGroupVersionKind(kind)
	return object, nil
}

func (plain) Default(runtime.Object) {}

func (plain) Convert(_, _, _ interface{}) error { return errors.ErrUnsupported }

func (plain) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (plain) ConvertFieldLabel(_ schema.GroupVersionKind, _, _ string) (string, string, error) {
	return "", "", errors.ErrUnsupported
}

type request struct {
	Do      string                 `json:"do"`
	Live    map[string]interface{} `json:"live"`
	Object  map[string]interface{} `json:"object"`
	Manager string                 `json:"manager"`
	Force   bool                   `json:"force"`
}

type server struct {
	schema *spec.Schema
	fields *managedfields.FieldManager
}

func newServer(file string) (*server, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	thing := &spec.Schema{}
	if err := json.Unmarshal(text, thing); err != nil {
		return nil, err
	}
	names := map[string]interface{}{"group": kind.Group, "version": kind.Version, "kind": kind.Kind}
	thing.AddExtension("x-kubernetes-group-version-kind", []interface{}{names})
	types, err := managedfields.NewTypeConverter(map[string]*spec.Schema{"thing": thing}, false)
	if err != nil {
		return nil, err
	}
	status := fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))
	resets := map[fieldpath.APIVersion]fieldpath.Filter{"test.io/v1": status}
	fields, err := managedfields.NewDefaultCRDFieldManager(types, plain{}, plain{}, plain{}, kind, kind.GroupVersion(), "", resets)
	return &server{thing, fields}, err
}

func (s *server) answer(r request) (interface{}, error) {
	if r.Do == "strategic" {
		meta := strategicpatch.PatchMetaFromOpenAPIV3{SchemaList: map[string]*spec.Schema{}, Schema: s.schema}
		return strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(r.Live, r.Object, meta)
	}
	var live runtime.Object = &unstructured.Unstructured{Object: r.Live}
	if r.Live == nil {
		live, _ = plain{}.New(kind)
	}
	object := &unstructured.Unstructured{Object: r.Object}
	if r.Do == "apply" {
		return s.fields.Apply(live, object, r.Manager, r.Force)
	}
	return s.fields.UpdateNoErrors(live, object, r.Manager), nil
}

func run() error {
	server, err := newServer(os.Args[1])
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var r request
		if err := kjson.UnmarshalCaseSensitivePreserveInts(lines.Bytes(), &r); err != nil {
			return err
		}
		answer := map[string]interface{}{}
		result, err := server.answer(r)
		if err == nil {
			answer["ok"] = result
		} else {
			answer["error"] = err.Error()
			var status apierrors.APIStatus
			if errors.As(err, &status) {
				answer["status"] = status.Status()
			}
		}
		line, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
