// Lists show and narrow by tenant only where there is more than one.
import { useTenants } from "../api/queries";
import { ChoiceFilter } from "../ui/filters";
import type { Column } from "../ui/table";

export function TenantFilter({ value, onChange }: { value: string; onChange: (change: { tenant: string }) => void }) {
  const { list, many } = useTenants();
  if (!many) return null;
  return (
    <ChoiceFilter
      label="Tenant"
      any="Any tenant"
      value={value}
      onChange={(tenant) => onChange({ tenant })}
      options={list.map(({ id, name }) => ({ value: id, label: name }))}
    />
  );
}

/** The tenant's column, or none. */
export function useTenantColumn<T extends { tenant_id?: string | null }>(): Column<T>[] {
  const { many, nameOf } = useTenants();
  return many ? [{ key: "tenant", label: "Tenant", width: "12%", cell: (row) => row.tenant_id != null && nameOf(row.tenant_id) }] : [];
}
