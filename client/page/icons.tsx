// The few pictures of the page. They say nothing by themselves: labels do.

const paths = {
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  send: "M5 12h13M12 5l7 7-7 7",
  down: "M12 5v14M5 12l7 7 7-7",
  bell: "M6 17V11a6 6 0 0112 0v6l2 2H4zM10 21h4",
  leave: "M10 4H5v16h5M10 12h10M16 8l4 4-4 4",
  note: "M6 3h9l4 4v14H6zM9 11h7M9 15h7",
  megaphone: "M4 10v4h3l8 5V5l-8 5zM18 9a4 4 0 010 6",
  pending: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 8v4l3 2",
  stored: "M5 13l4 4L19 7",
  read: "M2 13l4 4L16 7M11 16l1 1L22 7",
  failed: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 7v6M12 16.5v.5",
  talk: "M4 5h16v11h-9l-5 4v-4H4z",
};

export function Icon({ name }: { name: keyof typeof paths }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
