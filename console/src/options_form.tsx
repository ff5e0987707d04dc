// A field for each option, with its default and what it means.

import type { Asked, Option } from "./options.ts";

interface Props {
  prefix: string; // of the fields' IDs
  options: Option[];
  asked: Asked;
  ask: (asked: Asked) => void;
}

export function OptionsForm({ prefix, options, asked, ask }: Props) {
  return (
    <div class="options">
      {options.map((option) => (
        <Field key={option.name} id={`${prefix}-${option.name}`} option={option} value={asked[option.name] ?? ""} change={(value) => ask({ ...asked, [option.name]: value })} />
      ))}
    </div>
  );
}

function Field({ id, option, value, change }: { id: string; option: Option; value: string; change: (value: string) => void }) {
  const common = {
    id,
    value,
    "aria-describedby": `${id}-help`,
    onInput: (event: Event) => change((event.currentTarget as HTMLInputElement).value),
  };
  const without = option.fallback ? `default: ${option.fallback}` : "default";
  return (
    <div>
      <label for={id}>{option.name}</label>
      {option.choices.length ? (
        <select {...common}>
          <option value="">{without}</option>
          {option.choices.map((choice) => (
            <option key={choice}>{choice}</option>
          ))}
        </select>
      ) : option.repeated ? (
        <textarea {...common} rows={2} placeholder={option.example || "one on each line"} />
      ) : (
        <input {...common} placeholder={without} spellcheck={false} autocomplete="off" />
      )}
      <small id={`${id}-help`}>
        {option.description}
        {option.example && ` For example ${option.example}`}
      </small>
    </div>
  );
}
