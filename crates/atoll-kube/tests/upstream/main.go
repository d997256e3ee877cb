// Answers cases with Kubernetes' own packages: one JSON object a line in, one out. See ../upstream.rs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extval "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilval "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
	"time"
)

type in struct {
	Op     string          `json:"op"`
	Text   string          `json:"text"`
	Schema json.RawMessage `json:"schema"`
	Object json.RawMessage `json:"object"`
}

func errs(e error) string {
	if e == nil {
		return ""
	}
	return e.Error()
}

func first(list []string) interface{} {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func unique(list []string) []string {
	out := []string{}
	sort.Strings(list)
	for i, s := range list {
		if i == 0 || s != list[i-1] {
			out = append(out, s)
		}
	}
	return out
}

func handle(x in) (out map[string]interface{}) {
	out = map[string]interface{}{}
	defer func() {
		if r := recover(); r != nil {
			out["panic"] = fmt.Sprint(r)
		}
	}()
	switch x.Op {
	case "schema":
		var v1 apiextv1.JSONSchemaProps
		if err := json.Unmarshal(x.Schema, &v1); err != nil {
			out["error"] = err.Error()
			return
		}
		var s apiextensions.JSONSchemaProps
		if err := apiextv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &s, nil); err != nil {
			out["error"] = err.Error()
			return
		}
		ss, err := structuralschema.NewStructural(&s)
		if err != nil {
			out["error"] = err.Error()
			return
		}
		var obj interface{}
		if err := utiljson.Unmarshal(x.Object, &obj); err != nil {
			out["error"] = err.Error()
			return
		}
		unknown := pruning.PruneWithOptions(obj, ss, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
		out["unknown"] = unique(unknown)
		defaulting.PruneNonNullableNullsWithoutDefaults(obj, ss)
		defaulting.Default(obj, ss)
		out["object"] = obj
		v, _, err := validation.NewSchemaValidator(&s)
		if err != nil {
			out["error"] = err.Error()
			return
		}
		list := []string{}
		for _, e := range validation.ValidateCustomResource(nil, obj, v) {
			list = append(list, e.Error())
		}
		if m, ok := obj.(map[string]interface{}); ok {
			for _, e := range listtype.ValidateListSetsAndMaps(nil, ss, m) {
				list = append(list, e.Error())
			}
		}
		out["errors"] = unique(list)
	case "crd":
		var v1 apiextv1.CustomResourceDefinition
		if err := json.Unmarshal(x.Object, &v1); err != nil {
			out["error"] = err.Error()
			return
		}
		apiextv1.SetDefaults_CustomResourceDefinition(&v1)
		var c apiextensions.CustomResourceDefinition
		if err := apiextv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, &c, nil); err != nil {
			out["error"] = err.Error()
			return
		}
		list := []string{}
		for _, e := range extval.ValidateCustomResourceDefinition(context.Background(), &c) {
			list = append(list, e.Error())
		}
		out["errors"] = unique(list)
	case "labels":
		s, err := labels.Parse(x.Text)
		out["error"] = errs(err)
		if err == nil {
			out["text"] = s.String()
		}
	case "fields":
		s, err := fields.ParseSelector(x.Text)
		out["error"] = errs(err)
		if err == nil {
			out["text"] = s.String()
		}
	case "quantity":
		q, err := resource.ParseQuantity(x.Text)
		out["error"] = errs(err)
		if err == nil {
			b, s := q.CanonicalizeBytes(make([]byte, 0, 60))
			out["text"] = string(b) + string(s)
			out["milli"] = q.MilliValue()
			out["value"] = q.Value()
		}
	case "yaml":
		b, err := yaml.YAMLToJSON([]byte(x.Text))
		if err != nil {
			out["error"] = true
		} else {
			out["value"] = json.RawMessage(b)
		}
	case "names":
		out["label"] = first(utilval.IsDNS1123Label(x.Text))
		out["subdomain"] = first(utilval.IsDNS1123Subdomain(x.Text))
		out["label1035"] = first(utilval.IsDNS1035Label(x.Text))
		out["qualified"] = first(utilval.IsQualifiedName(x.Text))
		out["value"] = first(utilval.IsValidLabelValue(x.Text))
		out["key"] = first(utilval.IsConfigMapKey(x.Text))
	case "jsonpath":
		var obj interface{}
		utiljson.Unmarshal(x.Object, &obj)
		j := jsonpath.New("x")
		j.AllowMissingKeys(true)
		if err := j.Parse("{" + x.Text + "}"); err != nil {
			out["error"] = true
			return
		}
		res, err := j.FindResults(obj)
		if err != nil {
			out["results"] = []interface{}{}
			return
		}
		list := []interface{}{}
		for _, r := range res {
			for _, v := range r {
				list = append(list, v.Interface())
			}
		}
		out["results"] = list
	case "duration":
		var n int64
		fmt.Sscan(x.Text, &n)
		out["text"] = duration.HumanDuration(time.Duration(n) * time.Second)
	}
	return
}

func main() {
	sc := bufio.NewScanner(os.Stdin)
	sc.Buffer(make([]byte, 1<<20), 1<<26)
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for sc.Scan() {
		var x in
		if err := json.Unmarshal(sc.Bytes(), &x); err != nil {
			fmt.Fprintln(w, `{"bad":true}`)
			continue
		}
		b, err := json.Marshal(handle(x))
		if err != nil {
			b = []byte(`{"marshal":true}`)
		}
		w.Write(b)
		w.WriteByte('\n')
	}
}
